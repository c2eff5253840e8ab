//! The hosts that media bytes may come from.
//!
//! The URL of a medium is data from upstream; a token sent to whatever host it names would be a token leak, and a fetch of
//! it a way into the network. So it is compared with a list, as text, before anything is done with it.

use http::Uri;

/// The origins of `upstream.media`.
#[derive(Clone, Debug)]
pub struct MediaHosts {
    origins: Vec<String>,
}

/// A URL on one of them. Nothing but [`MediaHosts::check`] makes one.
#[derive(Clone, Debug)]
pub struct MediaUrl(Uri);

impl MediaUrl {
    /// The URL.
    #[must_use]
    pub fn uri(&self) -> Uri {
        self.0.clone()
    }
}

impl MediaHosts {
    /// These origins, each `scheme://authority` in canonical form.
    #[must_use]
    pub fn new(origins: Vec<String>) -> Self {
        Self { origins }
    }

    /// The URL, if it is on one of the hosts.
    ///
    /// It must begin with the origin letter by letter and go on with `/`: no user info, no other port, no spelling of the
    /// host that a URL parser would repair. A fragment, or a byte that no URL has, is refused too.
    #[must_use]
    pub fn check(&self, url: &str) -> Option<MediaUrl> {
        let is_plain = url
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'));
        let is_listed = self.origins.iter().any(|origin| {
            url.strip_prefix(origin.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        });
        if is_plain && is_listed {
            url.parse().ok().map(MediaUrl)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_hosts_are_ever_fetched() {
        let hosts = MediaHosts::new(vec!["https://lookaside.fbsbx.com".to_owned()]);
        assert!(
            hosts
                .check("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1")
                .is_some()
        );
        for url in [
            "https://lookaside.fbsbx.com",
            "https://lookaside.fbsbx.com.evil.example/",
            "https://lookaside.fbsbx.com@evil.example/",
            "https://lookaside.fbsbx.com:8443/",
            "https://lookaside.fbsbx.com\\@evil.example/",
            "https://LOOKASIDE.fbsbx.com/",
            "https://lookaside。fbsbx。com/",
            "https://user@lookaside.fbsbx.com/",
            "http://lookaside.fbsbx.com/",
            "https:///evil.example/",
            "https:lookaside.fbsbx.com/",
            "https://lookaside.fbsbx.com/\tx",
            "https://lookaside.fbsbx.com./",
            "https://127.1/",
            "//lookaside.fbsbx.com/",
            "https://lookaside.fbsbx.com/#@evil.example",
        ] {
            assert!(hosts.check(url).is_none(), "{url}");
        }
    }
}
