//! Media by `link` come only from hosts that the policy lists, and never together with an `id`.

use super::{Case, Verdict};
use crate::host::is_host_name;
use crate::operation::{Operation, shown};
use crate::policy::Links;
use crate::reason::Reason;

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let (Operation::SendMessage(message) | Operation::SendMarketing(message)) = &case.request.operation
    else {
        return Verdict::NotConcerned;
    };
    let Some(number) = case.number else {
        return Verdict::NotConcerned;
    };
    let mut concerned = false;
    for object in &message.media {
        let Some(link) = &object.link else { continue };
        concerned = true;
        if object.id.is_some() {
            return Verdict::Refused(Reason::IdAndLink {
                at: object.at.clone(),
            });
        }
        if let Some(reason) = judge_link(&number.media.links, &object.at, link) {
            return Verdict::Refused(reason);
        }
    }
    for stray in message.stray_links.iter().filter(|stray| !stray.documented) {
        concerned = true;
        if let Some(reason) = judge_link(&number.media.links, &stray.at, &stray.link) {
            return Verdict::Refused(reason);
        }
    }
    if concerned {
        Verdict::Passed
    } else {
        Verdict::NotConcerned
    }
}

fn judge_link(links: &Links, at: &str, link: &str) -> Option<Reason> {
    let Links::Hosts(hosts) = links else {
        return None;
    };
    let Some(host) = plain_https_host(link) else {
        return Some(Reason::LinkNotAllowed {
            at: at.to_owned(),
            host: None,
        });
    };
    if hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
        return None;
    }
    Some(Reason::LinkNotAllowed {
        at: at.to_owned(),
        host: Some(shown(host).into_owned()),
    })
}

/// The host of a link in the one form that every URL parser reads alike: `https://`, a host name, then the end, `/`, `?`,
/// or `:443` and one of those.
///
/// What browsers would repair (tabs, backslashes, full-width dots, user info, numbers as addresses) is `None`: two
/// parsers could disagree about where it leads. So could they about an `@` after a `?` that no slash precedes: to some,
/// all before it is user info.
fn plain_https_host(link: &str) -> Option<&str> {
    let rest = link.strip_prefix("https://")?;
    if link
        .bytes()
        .any(|byte| byte <= b' ' || byte == 0x7f || byte == b'\\')
    {
        return None;
    }
    let end = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-'))
        .unwrap_or(rest.len());
    let (host, after) = rest.split_at(end);
    let after = after.strip_prefix(":443").unwrap_or(after);
    let ends_here = after.is_empty() || after.starts_with('/');
    let only_a_query = after.starts_with('?') && !after.contains('@');
    ((ends_here || only_a_query) && is_host_name(host)).then_some(host)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::StorageMode;
    use crate::message::{MediaObject, StrayLink};
    use crate::rules::testing::{
        HOST, Scene, image_message, modes, object_with_id, object_with_link, text_message,
    };

    fn allows(link: &str) -> bool {
        judge_link(&Links::Hosts(vec![HOST.to_owned()]), "image", link).is_none()
    }

    /// Where a browser would go: it drops tabs and line ends, trims, takes any letter case of the scheme, any number of
    /// slashes or backslashes before the host, and what follows the last `@` of the authority.
    fn browsers_host(link: &str) -> String {
        let link: String = link
            .chars()
            .filter(|c| !matches!(c, '\t' | '\n' | '\r'))
            .collect();
        let link = link
            .trim_matches(|c: char| c <= ' ')
            .to_lowercase()
            .replace('\\', "/");
        let rest = link
            .strip_prefix("https:")
            .unwrap_or_default()
            .trim_start_matches('/');
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        host.split(':').next().unwrap_or_default().to_owned()
    }

    /// Where a reader goes to whom only a slash ends the authority.
    fn old_readers_host(link: &str) -> String {
        let rest = link.split_once("//").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        host.split([':', '?', '#'])
            .next()
            .unwrap_or_default()
            .to_lowercase()
    }

    /// Links put together from what readers of URLs trip over.
    fn hostile_links() -> impl Strategy<Value = String> {
        let pieces = select(vec![
            "https:",
            "http:",
            "//",
            "/",
            "\\",
            "@",
            ":",
            ":443",
            ":444",
            "?",
            "#",
            ".",
            "%2e",
            "\t",
            "\n",
            " ",
            "。",
            "ⓔ",
            "cdn.bank.example",
            "CDN.bank.example",
            "evil.example",
            "good",
            "127.1",
            "0x7f.1",
            "[::1]",
            "a",
            "\0",
        ]);
        (
            select(vec![
                "https://cdn.bank.example",
                "https://",
                "https:",
                "HTTPS://",
                "//",
                "",
            ]),
            vec(pieces, 0..6),
        )
            .prop_map(|(start, pieces)| format!("{start}{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn every_reader_finds_the_allowed_host_in_an_allowed_link(link in hostile_links()) {
            if allows(&link) {
                prop_assert_eq!(browsers_host(&link), HOST, "{:?}", &link);
                prop_assert_eq!(old_readers_host(&link), HOST, "{:?}", &link);
            }
        }

        #[test]
        fn a_listed_host_can_be_linked_to(
            host in "([a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\\.){0,3}[a-z]([a-z0-9-]{0,8}[a-z0-9])?",
            path in "(:443)?(/[ -\\[\\]-~&&[^ ]]{0,20})?",
        ) {
            let link = format!("https://{host}{path}");
            prop_assert_eq!(judge_link(&Links::Hosts(vec![host]), "image", &link), None);
        }

        #[test]
        fn no_link_leads_to_a_host_that_is_not_listed(mode in modes(), host in "[a-z]{1,8}\\.[a-z]{2,5}") {
            let message = image_message(object_with_link(&format!("https://{host}/a.png")));
            let mut scene = Scene::new(mode, Operation::SendMessage(message));
            scene.ours().media.links = Links::Hosts(vec![HOST.to_owned()]);
            let refused = Reason::LinkNotAllowed { at: "image".to_owned(), host: Some(host) };
            prop_assert_eq!(scene.decide().unwrap_err(), refused);
        }
    }

    #[test]
    fn links_that_two_parsers_could_read_differently_are_refused() {
        for link in [
            "",
            "https",
            "https:",
            "https://",
            "https:///cdn.bank.example/",
            "https:cdn.bank.example/",
            "https:/cdn.bank.example/",
            "https:\\\\cdn.bank.example/",
            "//cdn.bank.example/",
            "http://cdn.bank.example/",
            "HTTPS://cdn.bank.example/",
            " https://cdn.bank.example/",
            "https://cdn.bank.example /",
            "https://cdn.bank.\texample/",
            "https://cdn.bank.example\n/",
            "https://cdn.bank.example/a b",
            "https://cdn.bank.example/\u{7f}",
            "https://cdn.bank.example\\@evil.example/",
            "https://cdn.bank.example@evil.example/",
            "https://evil.example@cdn.bank.example/",
            "https://cdn.bank.example:443@evil.example/",
            "https://cdn.bank.example?@evil.example/",
            "https://cdn.bank.example:443?@evil.example/",
            "https://cdn.bank.example#@evil.example/",
            "https://cdn.bank.example#",
            "https://cdn.bank.example:/",
            "https://cdn.bank.example:444/",
            "https://cdn.bank.example:4430/",
            "https://cdn.bank.example:0443/",
            "https://cdn.bank.example./",
            "https://cdn。bank。example/",
            "https://cdn%2ebank.example/",
            "https://cdn.bank.ⓔxample/",
            "https://ｃdn.bank.example/",
            "https://127.1/",
            "https://2130706433/",
            "https://0177.0.0.1/",
            "https://0x7f.1/",
            "https://1.2.3.4/",
            "https://[::1]/",
            "https://cdn.bank.example.evil.example/",
            "https://evil-cdn.bank.example/",
            "https://bank.example/",
            "data:image/png;base64,AAAA",
            "file:///etc/passwd",
        ] {
            assert!(!allows(link), "{link:?}");
        }
        for link in [
            "https://cdn.bank.example",
            "https://cdn.bank.example/",
            "https://CDN.Bank.Example/a.png",
            "https://cdn.bank.example:443/a.png",
            "https://cdn.bank.example?v=1",
            "https://cdn.bank.example/a@b?c#d",
            "https://cdn.bank.example/ü.png",
        ] {
            assert!(allows(link), "{link:?}");
        }
    }

    #[test]
    fn no_list_opens_what_is_not_a_plain_name() {
        // `policies.toml` cannot say these.
        for host in ["127.1", "2130706433", "0x7f.1", "cdn.bank.example.", "-", ""] {
            let links = Links::Hosts(vec![host.to_owned()]);
            let refused = Reason::LinkNotAllowed {
                at: "image".to_owned(),
                host: None,
            };
            assert_eq!(
                judge_link(&links, "image", &format!("https://{host}/")),
                Some(refused)
            );
        }
    }

    #[test]
    fn id_and_link_together_are_refused_under_every_mode() {
        for mode in crate::rules::testing::three_modes() {
            let both = MediaObject {
                link: Some("https://cdn.bank.example/a.png".into()),
                ..object_with_id(7)
            };
            let scene = Scene::new(mode, Operation::SendMessage(image_message(both)));
            assert_eq!(
                scene.decide().unwrap_err(),
                Reason::IdAndLink {
                    at: "image".to_owned()
                }
            );
        }
    }

    #[test]
    fn a_default_number_without_a_list_links_where_it_likes() {
        let message = image_message(object_with_link("http://anywhere.example:8080/a.png"));
        let scene = Scene::new(StorageMode::Default, Operation::SendMessage(message));
        assert_eq!(scene.outcome(), "pass");
    }

    #[test]
    fn a_list_holds_for_links_outside_media_objects_too() {
        let stray = |documented| crate::message::Message {
            stray_links: vec![StrayLink {
                at: "interactive.action.link".to_owned(),
                documented,
                link: "https://evil.example/".into(),
            }],
            ..text_message()
        };
        let outcome = |documented| {
            let mut scene = Scene::new(StorageMode::Default, Operation::SendMessage(stray(documented)));
            scene.ours().media.links = Links::Hosts(vec![HOST.to_owned()]);
            scene.outcome()
        };
        assert_eq!(outcome(false), "link_not_allowed");
        assert_eq!(outcome(true), "pass");
    }
}
