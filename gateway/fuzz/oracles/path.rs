//! Request targets: the front door and the table of operations against the URL Standard's parser, which is what most
//! clients and many proxies read a target with.

use std::sync::OnceLock;

use curfew::graph::classify::{Head, classify};
use curfew::graph::path::GraphPath;
use curfew::server::{TARGET_BYTES, check_target};
use curfew_policies::PolicySet;
use http::Method;
use url::Url;

const POLICIES: &str = r#"
[[number]]
phone_number_id = "1001"
waba_id = "5001"
storage = { mode = "no_storage" }

[[number]]
phone_number_id = "1003"
waba_id = "5001"
storage = { mode = "default" }
"#;

const NOISE: [&str; 5] = ["pretty", "format", "locale", "debug", "sdk"];

pub fn check(data: &[u8]) -> bool {
    let Ok(target) = std::str::from_utf8(data) else {
        return false;
    };
    if check_target(target).is_err() {
        return false;
    }
    let url = url_of(target);
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    // Nothing was resolved, decoded, cut off or taken for something else.
    assert_eq!(url.path(), path);
    assert_eq!(url.host_str(), Some("gateway.example"));
    assert_eq!((url.username(), url.password(), url.port()), ("", None, None));
    assert_eq!(url.fragment(), None);
    // The one character of a query that is escaped by the standard and let through as it is by the front door.
    assert_eq!(
        url.query().map(str::to_owned),
        query.map(|query| query.replace('\'', "%27"))
    );

    let parsed = GraphPath::parse(path);
    if let Some(parsed) = &parsed {
        let version = parsed.version.map(|version| version.to_string());
        let ours: Vec<_> = version
            .as_deref()
            .into_iter()
            .chain(parsed.segments().iter().copied())
            .collect();
        assert_eq!(ours, segments(&url));
    }
    let mut known = false;
    for method in [Method::GET, Method::POST, Method::DELETE, Method::HEAD] {
        if let Ok(head) = classify(policies(), &method, path, query) {
            assert!(parsed.is_some());
            is_canonical(&method, &url, &head);
            known = true;
        }
    }
    known
}

fn policies() -> &'static PolicySet {
    static POLICY_SET: OnceLock<PolicySet> = OnceLock::new();
    POLICY_SET.get_or_init(|| curfew_policies::parse(POLICIES).expect("the policies are good"))
}

fn url_of(target: &str) -> Url {
    Url::parse(&format!("http://gateway.example{target}")).expect("the URL Standard takes it")
}

/// One slash at the end counts for nothing, as at Meta.
fn segments(url: &Url) -> Vec<&str> {
    let mut segments: Vec<_> = url.path_segments().expect("an http URL has a path").collect();
    if segments.last() == Some(&"") {
        segments.pop();
    }
    segments
}

/// What goes to Meta names what the caller's URL names, and is the only spelling of it.
fn is_canonical(method: &Method, came: &Url, head: &Head) {
    assert_ne!(method, Method::HEAD);
    let goes = &head.upstream_target;
    // Escaping may make of each character three; everything else about it is as the front door wants it.
    if goes.len() <= TARGET_BYTES {
        assert_eq!(check_target(goes), Ok(()), "{goes}");
    }
    let url = url_of(goes);
    assert_eq!(segments(&url), segments(came));
    let pairs = |url: &Url| -> Vec<(String, String)> {
        url.query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect()
    };
    let read: Vec<_> = head
        .query
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    // Parameters of a GET that say only how its answer is written do not go on.
    let noise = |name: &str| method == Method::GET && NOISE.contains(&name);
    let meant: Vec<_> = pairs(came).into_iter().filter(|(name, _)| !noise(name)).collect();
    assert_eq!(meant, read);
    assert_eq!(pairs(&url), read);

    let again = classify(policies(), method, url.path(), url.query()).expect("its own target is known");
    assert_eq!(again.upstream_target, *goes);
    assert!(std::ptr::eq(again.route, head.route));
    assert_eq!(
        (again.version, again.subject, again.node),
        (head.version, head.subject, head.node)
    );
}
