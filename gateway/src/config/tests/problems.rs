//! Each way to be wrong, and what is said of it.

use super::*;

/// A wrong file, and for each problem its line, its key and a piece of its message.
type Case = (&'static str, &'static [(usize, &'static str, &'static str)]);

/// What is wrong behind lines 1 and 2 of [`HEAD`].
const BEHIND_HEAD: &[Case] = &[
    // Form.
    (
        "lsten = 1",
        &[(
            3,
            "lsten",
            "known here: admin_listen, audit, cache, limits, listen, policies, public_url, store, telemetry, tls, upstream, webhooks",
        )],
    ),
    (
        "admin_listen = 9090",
        &[(3, "admin_listen", "must be a string, not a whole number")],
    ),
    (
        "admin_listen = \"localhost:9090\"",
        &[(3, "admin_listen", "must be an IP address and a port")],
    ),
    (
        "admin_listen = \"127.0.0.1:8080\"",
        &[(3, "admin_listen", "must differ from listen")],
    ),
    (
        "public_url = \"https://curfew.bank.example/base\"",
        &[(3, "public_url", "no path")],
    ),
    (
        "limits = 3",
        &[(3, "limits", "must be a table, not a whole number")],
    ),
    ("limits = []", &[(3, "limits", "must be a table, not a list")]),
    // TLS.
    (
        "tls = {}",
        &[
            (3, "tls.cert_file", "is missing"),
            (3, "tls.key_file", "is missing"),
        ],
    ),
    (
        "tls = { cert_file = \"tls/cert.pem\" }",
        &[(3, "tls.key_file", "is missing")],
    ),
    (
        "[tls]\ncert_file = \"none.pem\"\nkey_file = \"tls/cert.pem\"",
        &[
            (4, "tls.cert_file", "cannot be read"),
            (5, "tls.key_file", "no PEM private key"),
        ],
    ),
    (
        "[tls]\ncert_file = \"tls/cert.pem\"\nkey_file = \"tls/key.pem\"\nclient_ca_file = \"policies.toml\"\nca = 1",
        &[
            (6, "tls.client_ca_file", "no PEM certificate"),
            (7, "tls.ca", "known here: cert_file, client_ca_file, key_file"),
        ],
    ),
    // Upstream.
    (
        "[upstream]\ngraph = \"http://graph.facebook.com\"",
        &[(4, "upstream.graph", "plain http is only for loopback")],
    ),
    (
        "[upstream]\ngraph = \"https://graph.facebook.com/v23.0\"",
        &[(4, "upstream.graph", "no path")],
    ),
    (
        "[upstream]\ngraph = \"https://user@graph.facebook.com\"",
        &[(4, "upstream.graph", "user name")],
    ),
    (
        "[upstream]\nmedia = []",
        &[(4, "upstream.media", "at least one origin")],
    ),
    (
        "[upstream]\nmedia = \"https://lookaside.fbsbx.com\"",
        &[(4, "upstream.media", "must be a list, not a string")],
    ),
    (
        "[upstream]\nmedia = [\n \"https://a.example\",\n \"b.example\",\n 7,\n]",
        &[
            (6, "upstream.media[1]", "must begin with https://"),
            (7, "upstream.media[2]", "must be a string"),
        ],
    ),
    (
        "[upstream]\nca_file = \"policies.toml\"",
        &[(4, "upstream.ca_file", "no PEM certificate")],
    ),
    // Secrets.
    (
        "[upstream]\ntoken = \"EAAGm0PX4ZCpsBAtokenForTests\"",
        &[(4, "upstream.token", "must not be written here")],
    ),
    (
        "[upstream]\ntoken = 17",
        &[(4, "upstream.token", "must be a table")],
    ),
    (
        "[upstream]\ntoken = {}",
        &[(4, "upstream.token", "exactly one of env and file")],
    ),
    (
        "[upstream]\ntoken = { env = \"CURFEW_GRAPH_TOKEN\", file = \"secrets/app-secret\" }",
        &[(4, "upstream.token", "exactly one of env and file")],
    ),
    (
        "[upstream]\ntoken = { var = \"CURFEW_GRAPH_TOKEN\" }",
        &[
            (4, "upstream.token", "exactly one"),
            (4, "upstream.token.var", "known here: env, file"),
        ],
    ),
    (
        "[upstream]\ntoken = { env = \"UNSET\" }",
        &[(4, "upstream.token.env", "variable UNSET is not set")],
    ),
    (
        "[upstream]\ntoken = { env = \"EMPTY\" }",
        &[(4, "upstream.token.env", "variable EMPTY is empty")],
    ),
    (
        "[upstream]\ntoken = { env = \"SPACED\" }",
        &[(4, "upstream.token.env", "variable SPACED holds something")],
    ),
    (
        "[upstream]\ntoken = { env = \"\" }",
        &[(4, "upstream.token.env", "variable that this names is not set")],
    ),
    (
        "[upstream]\ntoken = { env = 1 }",
        &[(4, "upstream.token.env", "must be a string")],
    ),
    (
        "[upstream.app_secret]\nfile = \"secrets/none\"",
        &[(
            4,
            "upstream.app_secret.file",
            "is not there; a relative path starts from /",
        )],
    ),
    (
        "[upstream]\napp_secret = { file = \"secrets/empty\" }",
        &[(4, "upstream.app_secret.file", "is empty")],
    ),
    (
        "[upstream]\napp_secret = { file = \"secrets/two-lines\" }",
        &[(4, "upstream.app_secret.file", "no second line")],
    ),
    (
        "[upstream]\napp_secret = { file = \"secrets\" }",
        &[(4, "upstream.app_secret.file", "cannot be read")],
    ),
    (
        "[upstream]\napp_secret = { file = \"\" }",
        &[(4, "upstream.app_secret.file", "must be a path")],
    ),
    // Store.
    (
        "[store]\nkind = \"valkey\"",
        &[
            (3, "store.url", "is missing: write url = "),
            (3, "store.instances", "is missing: say how many"),
        ],
    ),
    (
        "[store]\nkind = \"valkey\"\nurl = \"redis://127.0.0.1:6379/0\"\ninstances = 65",
        &[(6, "store.instances", "must be from 1 to 64 instances")],
    ),
    (
        "[store]\nkind = \"valkey\"\nurl = \"http://127.0.0.1:6379/0\"\ninstances = 2",
        &[(5, "store.url", "must be redis://HOST")],
    ),
    (
        "[store]\nkind = \"valkey\"\nurl = \"rediss://valkey.bank.example/#insecure\"\ninstances = 2",
        &[(5, "store.url", "without a fragment")],
    ),
    (
        "[store]\nkind = \"valkey\"\nurl = \"redis://:password@127.0.0.1:6379/0\"\ninstances = 2",
        &[(5, "store.url", "must not have a password in it")],
    ),
    (
        "[store]\nkind = \"valkey\"\nurl = { env = \"EMPTY\" }\ninstances = 2\npath = \"curfew.db\"",
        &[
            (5, "store.url.env", "EMPTY is empty"),
            (7, "store.path", "belongs to kind = \"sqlite\" alone"),
        ],
    ),
    (
        "[store]\nkind = \"redis\"",
        &[(4, "store.kind", "must be \"memory\", \"sqlite\" or \"valkey\"")],
    ),
    (
        "[store]\nkind = true",
        &[(4, "store.kind", "must be a string, not true or false")],
    ),
    (
        "[store]\npath = \"curfew.db\"",
        &[(4, "store.path", "belongs to kind = \"sqlite\" alone")],
    ),
    (
        "[store]\nkind = \"sqlite\"\nurl = { env = \"X\" }",
        &[(5, "store.url", "belongs to kind = \"valkey\" alone")],
    ),
    (
        "[store]\nkind = \"sqlite\"\npath = \"\"",
        &[(5, "store.path", "must be a path")],
    ),
    // Limits.
    (
        "[limits]\nhead_bytes = 1023",
        &[(4, "limits.head_bytes", "from 1024 to 65536 bytes")],
    ),
    (
        "[limits]\nhead_bytes = 65537",
        &[(4, "limits.head_bytes", "from 1024 to 65536 bytes")],
    ),
    (
        "[limits]\nheaders = 7",
        &[(4, "limits.headers", "from 8 to 256 header fields")],
    ),
    (
        "[limits]\nheaders = 257",
        &[(4, "limits.headers", "from 8 to 256 header fields")],
    ),
    (
        "[limits]\njson_bytes = 8388609",
        &[(4, "limits.json_bytes", "from 1024 to 8388608 bytes")],
    ),
    (
        "[limits]\nupload_bytes = 1073741825",
        &[(4, "limits.upload_bytes", "from 1024 to 1073741824 bytes")],
    ),
    (
        "[limits]\nupload_bytes = 99999999999999999999999",
        &[(4, "limits.upload_bytes", "from 1024 to")],
    ),
    (
        "[limits]\nheader_timeout_s = 0",
        &[(4, "limits.header_timeout_s", "from 1 to 600 seconds")],
    ),
    (
        "[limits]\nbody_idle_timeout_s = -1",
        &[(4, "limits.body_idle_timeout_s", "from 1 to 600 seconds")],
    ),
    (
        "[limits]\nkeep_alive_idle_s = 7.5",
        &[(
            4,
            "limits.keep_alive_idle_s",
            "must be a whole number of seconds, not a number with a fraction",
        )],
    ),
    // Cache.
    (
        "[cache]\nmax_bytes = 68719476737",
        &[(4, "cache.max_bytes", "from 0 to 68719476736 bytes")],
    ),
    (
        "[cache]\nobject_bytes = 1023",
        &[(4, "cache.object_bytes", "from 1024 to 104857600 bytes")],
    ),
    (
        "[cache]\nobject_bytes = 104857601",
        &[(4, "cache.object_bytes", "from 1024 to 104857600 bytes")],
    ),
    (
        "[cache]\nmax_bytes = 2048\nobject_bytes = 2049",
        &[(
            5,
            "cache.object_bytes",
            "must not be more than cache.max_bytes, which is 2048",
        )],
    ),
    (
        "[cache]\nmax_byte = 1",
        &[(4, "cache.max_byte", "known here: max_bytes, object_bytes")],
    ),
    // Audit and telemetry.
    (
        "[audit]\npath = 1979-05-27",
        &[(4, "audit.path", "must be a string, not a date or time")],
    ),
    (
        "[telemetry]\notlp_endpoint = \"127.0.0.1:4318\"",
        &[(4, "telemetry.otlp_endpoint", "must be an http or https URL")],
    ),
    (
        "[telemetry]\notlp_endpoint = \"http://user@collector:4318\"",
        &[(4, "telemetry.otlp_endpoint", "without user name")],
    ),
    (
        "[telemetry]\notlp_endpoint = \"ftp://collector\"",
        &[(4, "telemetry.otlp_endpoint", "must be an http or https URL")],
    ),
    (
        "[telemetry]\nsample_ratio = 1.01",
        &[(4, "telemetry.sample_ratio", "from 0.0 to 1.0")],
    ),
    (
        "[telemetry]\nsample_ratio = nan",
        &[(4, "telemetry.sample_ratio", "from 0.0 to 1.0")],
    ),
    (
        "[telemetry]\nsample_ratio = \"1\"",
        &[(4, "telemetry.sample_ratio", "from 0.0 to 1.0")],
    ),
    // What is not TOML.
    ("listen = \"127.0.0.1:1\"", &[(3, "listen", "is there twice")]),
    ("admin_listen = 127.0.0.1:9090", &[(3, "", "is not TOML")]),
    (
        "public_url \"x\"\naudit = }\n[limits]\nheaders = 1",
        &[(3, "", "is not TOML"), (4, "", "is not TOML")],
    ),
];

/// What is wrong as a whole.
/// What is wrong with `[webhooks]`, or with what it needs.
const WEBHOOKS: &[Case] = &[
    (
        "[webhooks]\nport = 1",
        &[
            (3, "webhooks.listen", "is missing: write listen = "),
            (3, "webhooks.verify_token", "is missing: write verify_token = "),
            (3, "webhooks.deliver_to", "is missing: write deliver_to = "),
            (1, "upstream.app_secret", "Meta signs its webhooks with it"),
            (
                4,
                "webhooks.port",
                "known here: ca_file, deliver_to, delivery_secret, listen, path, tls, verify_token",
            ),
        ],
    ),
    (
        "upstream.app_secret = { file = \"secrets/app-secret\" }\n[webhooks]\nlisten = \"127.0.0.1:8080\"\n\
         verify_token = \"literal\"\ndeliver_to = \"http://receiver.bank.example/\"\npath = \"/a?b\"\n\
         ca_file = \"policies.toml\"\ndelivery_secret = { file = \"secrets/app-secret\" }\ntls = {}",
        &[
            (5, "webhooks.listen", "must differ from listen and admin_listen"),
            (6, "webhooks.verify_token", "must not be written here"),
            (7, "webhooks.deliver_to", "plain http is only for loopback"),
            (8, "webhooks.path", "must be the path of a URL"),
            (9, "webhooks.ca_file", "no PEM certificate"),
            (10, "webhooks.delivery_secret", "must not be the app secret"),
            (11, "webhooks.tls.cert_file", "is missing"),
            (11, "webhooks.tls.key_file", "is missing"),
        ],
    ),
    (
        "upstream.app_secret = { env = \"NONE\" }\n[webhooks]\nlisten = \"127.0.0.1:9090\"\n\
         verify_token = { env = \"CURFEW_VERIFY_TOKEN\" }\ndeliver_to = \"https://user@receiver.bank.example/\"",
        &[
            (3, "upstream.app_secret.env", "is not set"),
            (5, "webhooks.listen", "must differ from listen and admin_listen"),
            (7, "webhooks.deliver_to", "without user name"),
        ],
    ),
    ("webhooks = 1", &[(3, "webhooks", "must be a table")]),
];

const WHOLE: &[Case] = &[
    (
        "listen = \"127.0.0.1:1\"\npolicies = \"settling.toml\"",
        &[(
            1,
            "webhooks",
            "the number 106540352242922 has settle_unknown = true",
        )],
    ),
    (
        "listen = \"127.0.0.1:1\"\npolicies = \"settling.toml\"\nupstream.app_secret = { file = \"secrets/app-secret\" }\n\
         [webhooks]\nlisten = \"127.0.0.1:2\"\nverify_token = { env = \"CURFEW_VERIFY_TOKEN\" }\n\
         deliver_to = \"http://127.0.0.1:3/hook\"",
        &[(
            4,
            "webhooks.delivery_secret",
            "the number 106540352242922 has settle_unknown = true",
        )],
    ),
    (
        "listen = \"127.0.0.1:9090\"\npolicies = \"policies.toml\"",
        &[(1, "admin_listen", "must differ from listen")],
    ),
    (
        "listen = \"127.0.0.1:9090\"\npolicies = \"policies.toml\"\nadmin_listen = \"x\"",
        &[(3, "admin_listen", "must be an IP address and a port")],
    ),
    (
        "",
        &[
            (1, "listen", "is missing: write listen = "),
            (1, "policies", "is missing: write policies = "),
        ],
    ),
    (
        "listen = \"8080\"\npolicies = \"\"",
        &[
            (1, "listen", "must be an IP address"),
            (2, "policies", "must be a path"),
        ],
    ),
    (
        "listen = \"127.0.0.1:1\"\npolicies = \"none.toml\"",
        &[(2, "policies", "cannot be read")],
    ),
    (
        "listen = \"127.0.0.1:1\"\npolicies = \"tls\"",
        &[(2, "policies", "cannot be read")],
    ),
    (
        "listen = \"0.0.0.0:8080\"\npolicies = \"policies.toml\"",
        &[(1, "public_url", "is missing")],
    ),
    (
        "listen = \"0.0.0.0:8080\"\npolicies = \"policies.toml\"\npublic_url = \"http://c.example\"\n[upstream]\ntoken = { env = \"CURFEW_GRAPH_TOKEN\" }",
        &[(5, "upstream.token", "open relay")],
    ),
    // A token that cannot be read is a token all the same.
    (
        "listen = \"0.0.0.0:8080\"\npolicies = \"policies.toml\"\npublic_url = \"http://c.example\"\n[upstream]\ntoken = { env = \"UNSET\" }",
        &[
            (5, "upstream.token", "open relay"),
            (5, "upstream.token.env", "is not set"),
        ],
    ),
    (
        "listen = \"127.0.0.1:1\"\npolicies = \"by_key.toml\"",
        &[(1, "upstream.token", "is missing")],
    ),
    (
        "listen = \"127.0.0.1:1\"\npolicies = \"by_key.toml\"\n[upstream]",
        &[(3, "upstream.token", "is missing")],
    ),
    (
        "listen = \"127.0.0.1:1\"\npolicies = \"by_certificate.toml\"\nupstream.token = { env = \"CURFEW_GRAPH_TOKEN\" }",
        &[(1, "tls.client_ca_file", "\"billing\" is known by tls_san")],
    ),
    (
        "listen = \"127.0.0.1:1\"\npolicies = \"by_certificate.toml\"\ntls = { cert_file = \"tls/cert.pem\", key_file = \"tls/key.pem\" }\nupstream.token = { env = \"CURFEW_GRAPH_TOKEN\" }",
        &[(1, "tls.client_ca_file", "\"billing\" is known by tls_san")],
    ),
];

#[test]
fn every_problem_has_its_line_its_key_and_a_cure() {
    let site = Site::new();
    let cases = BEHIND_HEAD
        .iter()
        .chain(WEBHOOKS)
        .map(|(text, expected)| (format!("{HEAD}{text}\n"), expected));
    for (text, expected) in cases.chain(
        WHOLE
            .iter()
            .map(|(text, expected)| ((*text).to_owned(), expected)),
    ) {
        let problems = site.problems(&text);
        let found: Vec<_> = problems
            .iter()
            .map(|problem| (problem.line, problem.key.as_str(), problem.message.as_str()))
            .collect();
        let as_expected = found.len() == expected.len()
            && expected.iter().all(|(line, key, message)| {
                found
                    .iter()
                    .any(|found| found.0 == *line && found.1 == *key && found.2.contains(message))
            });
        assert!(as_expected, "{text}\nexpected {expected:#?}\nfound {found:#?}");
        assert!(
            problems
                .iter()
                .all(|problem| problem.file == site.path("curfew.toml"))
        );
    }
}

#[test]
fn the_problems_of_both_files_come_together() {
    let site = Site::new();
    let problems = site.problems("lsten = 1\npolicies = \"wrong_policies.toml\"\n[limits]\nheaders = 1\n");
    let of = |name: &str| {
        let path = site.path(name);
        problems
            .iter()
            .filter(move |problem| problem.file == path)
            .count()
    };
    assert_eq!(of("curfew.toml"), 3);
    assert!(of("wrong_policies.toml") >= 2, "{problems}");
    assert_eq!(problems.len(), of("curfew.toml") + of("wrong_policies.toml"));

    let problems = site.problems("policies = \"wrong_policies.toml\"\n[limits\n");
    let files: Vec<_> = problems.iter().map(|problem| problem.file.clone()).collect();
    assert!(files.contains(&site.path("curfew.toml")) && files.contains(&site.path("wrong_policies.toml")));
}

#[test]
fn a_problem_is_shown_as_file_line_column_key_and_message() {
    let site = Site::new();
    let problems = site.problems(&format!("{HEAD}[limits]\nheaders   = 1\n"));
    assert_eq!(
        problems.to_string(),
        format!(
            "{}:4:13: limits.headers: must be from 8 to 256 header fields",
            site.path("curfew.toml").display()
        )
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let site = Site::new();
    let problems = load_with(&site.path("none.toml"), &environment).unwrap_err();
    assert!(
        problems.to_string().contains("none.toml:1:1: cannot be read"),
        "{problems}"
    );
    fs::write(site.path("latin1.toml"), b"# \xfc\n").unwrap();
    let problems = load_with(&site.path("latin1.toml"), &environment).unwrap_err();
    assert!(problems.to_string().contains("is not UTF-8"), "{problems}");
}
