//! Media by `link` come only from hosts that the policy lists, and never together with an `id`.

use super::{Case, Verdict};
use crate::decision::Reason;
use crate::operation::{Operation, shown};
use crate::policy::Links;

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

/// The host of a link in the one form that every URL parser reads alike: `https://`, a DNS name in ASCII letters, digits,
/// dots and hyphens, then the end, `/`, `?`, or `:443` and one of those.
///
/// What browsers would repair (tabs, backslashes, full-width dots, user info, numbers as addresses) is `None`: two
/// parsers could disagree about where it leads.
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
    if !(after.is_empty() || after.starts_with('/') || after.starts_with('?')) {
        return None;
    }
    let labels_are_whole = host.split('.').all(|label| !label.is_empty());
    let last_is_a_name = host
        .rsplit('.')
        .next()
        .is_some_and(|label| label.starts_with(|c: char| c.is_ascii_alphabetic()));
    (labels_are_whole && last_is_a_name).then_some(host)
}
