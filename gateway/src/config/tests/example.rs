//! `deploy/curfew.toml`: what it shows is what is.

use super::*;

/// The example that people copy.
const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/curfew.toml"));

/// The example with every setting that it shows in a comment switched on.
pub(super) fn whole_example() -> String {
    whole_example_with("sqlite")
}

/// The same with a store of this kind, and what belongs to it.
fn whole_example_with(kind: &str) -> String {
    let others: &[&str] = match kind {
        "sqlite" => &["url =", "instances ="],
        _ => &["path = \"curfew.db\""],
    };
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let setting = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
        let line = setting.unwrap_or(line);
        if others.iter().any(|other| line.starts_with(other)) {
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text.replace("kind = \"memory\"", &format!("kind = \"{kind}\""))
}

#[test]
fn the_example_is_a_configuration() {
    let site = Site::new();
    let config = site.load(EXAMPLE).unwrap().config;
    assert_eq!(config.store, StoreConfig::Memory);
    assert_eq!((config.tls, config.audit, config.telemetry), (None, None, None));
    assert!(config.upstream.token.is_none() && config.webhooks.is_none());
}

#[test]
fn the_example_shows_every_setting_with_its_default() {
    let site = Site::new();
    let whole = site.load(&whole_example()).unwrap().config;
    let bare = site.load(EXAMPLE).unwrap().config;
    assert_eq!(whole.admin_listen, bare.admin_listen);
    assert_eq!(whole.upstream.graph, bare.upstream.graph);
    assert_eq!(whole.upstream.media, bare.upstream.media);
    assert_eq!(whole.cache, bare.cache);
    assert_eq!(whole.limits, bare.limits);
    assert_eq!(
        whole.store,
        StoreConfig::Sqlite {
            path: site.path("curfew.db")
        }
    );
    assert_eq!(
        whole.audit,
        Some(Audit {
            path: site.path("audit/")
        })
    );
    assert!(whole.public_url.is_some() && whole.tls.is_some() && whole.telemetry.is_some());
    assert!(whole.upstream.token.is_some() && whole.upstream.app_secret.is_some());
    assert!(whole.upstream.ca_file.is_some());
    let webhooks = whole.webhooks.unwrap();
    assert!(webhooks.tls.is_some() && webhooks.ca_file.is_some() && webhooks.delivery_secret.is_some());
}

#[test]
fn the_example_shows_a_shared_store() {
    let site = Site::new();
    let store = site.load(&whole_example_with("valkey")).unwrap().config.store;
    let expected = StoreConfig::Valkey {
        url: ValkeyUrl::parse("redis://curfew:secret@valkey.bank.example:6379/0").unwrap(),
        instances: 2.try_into().unwrap(),
    };
    assert_eq!(store, expected);
}

#[test]
fn the_example_shows_every_key_that_there_is() {
    let site = Site::new();
    for table in [
        "",
        "tls",
        "upstream",
        "store",
        "cache",
        "limits",
        "audit",
        "telemetry",
        "webhooks",
    ] {
        let text = if table.is_empty() {
            format!("odd = 1\n{}", whole_example())
        } else {
            let header = format!("\n[{table}]\n");
            whole_example().replace(&header, &format!("{header}odd = 1\n"))
        };
        let problems = site.problems(&text);
        let problem = problems.iter().next().unwrap();
        let known = problem.message.split_once("known here: ").unwrap().1;
        assert_eq!(
            (problems.len(), problem.key.as_str()),
            (1, format!("{table}.odd").trim_start_matches('.'))
        );
        for key in known.split(", ") {
            let (sqlite, valkey) = (whole_example(), whole_example_with("valkey"));
            let shown = sqlite
                .lines()
                .chain(valkey.lines())
                .any(|line| line.starts_with(&format!("{key} = ")) || line == format!("[{key}]"));
            assert!(shown, "{key} of [{table}] is not in the example");
        }
    }
}
