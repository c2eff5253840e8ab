//! What Meta's answers mean for the pace: its word counts more than ours.
//!
//! The codes and what they ask for are from Cloud API, "Error codes", and Graph API, "Rate limits". Where Meta gives no
//! figure, ours are here.

use curfew_policies::WabaId;
use http::{HeaderMap, StatusCode};

use crate::graph::failure::{Failure, Usage};

/// What an answer to a send means for those that come after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was accepted.
    Accepted,
    /// It was not, for a reason that says nothing about the next one.
    Refused,
    /// The number's throughput is used up (130429): its rate is halved at once and recovers by steps.
    TooFast,
    /// Too many to this recipient (131056): the pair is closed for 4^n seconds, n growing with each failure.
    PairTooFast,
    /// What it names is closed for a while.
    Pause {
        /// What is named.
        scope: Scope,
        /// Meta's code; 0 where only the header says so.
        code: i64,
        /// For how many minutes.
        minutes: u32,
    },
    /// What it names is closed until an operator opens it again.
    Stop {
        /// What is named.
        scope: Scope,
        /// Meta's code.
        code: i64,
    },
    /// Somebody must look at it, but closing would help nobody: a token that was renewed works at once, and one
    /// caller's wrong token is not the others'.
    Alarm {
        /// Meta's code.
        code: i64,
    },
}

/// What one answer of Meta can be about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The number that sent.
    Number,
    /// The account of the number, with all its numbers; the number alone where the policy names no account.
    Account,
    /// The app or token that was used, with whatever uses it.
    App,
}

/// How long a pause is where Meta does not say: a minute, the shortest that "Rate limits" counts in.
const UNSAID_MINUTES: u32 = 1;
/// The longest pause that is believed: a day. The limits that are counted by the hour end long before.
const MOST_MINUTES: u32 = 1_440;

impl Outcome {
    /// What an answer to a send of a number of `account` means. `body` is needed only as far as it may hold an error; one that
    /// was passed on as a stream may be given empty.
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap, body: &[u8], account: Option<WabaId>) -> Self {
        let usage = Usage::read(headers, account);
        match Failure::read(body) {
            Some(failure) => Self::of_failure(failure, usage),
            None if status == StatusCode::TOO_MANY_REQUESTS => Self::TooFast,
            None if usage.messaging_regain_minutes > 0 => Self::Pause {
                scope: Scope::Account,
                code: 0,
                minutes: usage.messaging_regain_minutes.min(MOST_MINUTES),
            },
            None if status.is_success() => Self::Accepted,
            None => Self::Refused,
        }
    }

    /// The same for whoever sent with a token that Meta has never taken for the number: what befalls it is its own affair.
    #[must_use]
    pub const fn of_a_stranger(self) -> Self {
        match self {
            Self::Pause { code, minutes, .. } => Self::Pause {
                scope: Scope::App,
                code,
                minutes,
            },
            Self::Stop { code, .. } => Self::Stop {
                scope: Scope::App,
                code,
            },
            Self::TooFast | Self::PairTooFast | Self::Alarm { .. } => Self::Refused,
            Self::Accepted | Self::Refused => self,
        }
    }

    /// The same of an error that is read already, such as one that came by webhook.
    #[must_use]
    pub fn of_failure(failure: Failure, usage: Usage) -> Self {
        let code = failure.code;
        let said = match usage.regain_minutes {
            0 => UNSAID_MINUTES,
            minutes => minutes.min(MOST_MINUTES),
        };
        let pause = |scope, minutes| Self::Pause { scope, code, minutes };
        // What passes by itself needs nobody to open it again.
        let stop = |scope| {
            if failure.is_transient == Some(true) {
                pause(scope, said)
            } else {
                Self::Stop { scope, code }
            }
        };
        match code {
            130_429 => Self::TooFast,
            131_056 => Self::PairTooFast,
            // App, user (whose token it is) and application limits.
            4 | 17 | 341 => pause(Scope::App, said),
            80_007 | 80_008 => pause(Scope::Account, said),
            // Page and custom limits; what passes within minutes: upgrade, server and maintenance.
            32 | 613 | 131_057 | 133_004 | 2_494_100 => pause(Scope::Number, said),
            // Deleted a moment ago: five minutes, says Meta.
            133_015 => pause(Scope::Number, 5),
            // Restricted, locked, classified wrongly, or not paid for.
            368 | 131_031 | 131_042 | 131_064 => stop(Scope::Account),
            // Reported as spam, deleted, without an approved name, not registered well or at all.
            33 | 131_037 | 131_045 | 131_048 | 133_010 => stop(Scope::Number),
            // Credentials and permissions; a country that may not be written to.
            0 | 3 | 10 | 102 | 190 | 200..=299 | 130_497 | 131_005 => Self::Alarm { code },
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str, header: Option<&str>) -> Outcome {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("x-business-use-case-usage", header.parse().unwrap());
        }
        let account = "1".parse().ok();
        Outcome::of(
            StatusCode::from_u16(status).unwrap(),
            &headers,
            body.as_bytes(),
            account,
        )
    }

    fn error(code: i64) -> String {
        format!("{{\"error\":{{\"code\":{code}}}}}")
    }

    #[test]
    fn each_code_means_what_the_table_says() {
        let pause = |scope, code, minutes| Outcome::Pause { scope, code, minutes };
        let stop = |scope, code| Outcome::Stop { scope, code };
        for (code, expected) in [
            (130_429, Outcome::TooFast),
            (131_056, Outcome::PairTooFast),
            (4, pause(Scope::App, 4, 1)),
            (17, pause(Scope::App, 17, 1)),
            (613, pause(Scope::Number, 613, 1)),
            (80_007, pause(Scope::Account, 80_007, 1)),
            (80_008, pause(Scope::Account, 80_008, 1)),
            (131_057, pause(Scope::Number, 131_057, 1)),
            (133_015, pause(Scope::Number, 133_015, 5)),
            (131_048, stop(Scope::Number, 131_048)),
            (133_010, stop(Scope::Number, 133_010)),
            (368, stop(Scope::Account, 368)),
            (131_031, stop(Scope::Account, 131_031)),
            (131_064, stop(Scope::Account, 131_064)),
            (190, Outcome::Alarm { code: 190 }),
            (130_497, Outcome::Alarm { code: 130_497 }),
            (131_026, Outcome::Refused),
            (131_047, Outcome::Refused),
            (100, Outcome::Refused),
        ] {
            // The HTTP status says nothing: errors come as 400, as 429 and, suppressed, as 200.
            for status in [200, 400, 429, 500] {
                assert_eq!(of(status, &error(code), None), expected, "{code}");
            }
        }
    }

    #[test]
    fn what_is_transient_stops_nothing() {
        let body = r#"{"error":{"code":131031,"is_transient":true}}"#;
        let expected = Outcome::Pause {
            scope: Scope::Account,
            code: 131_031,
            minutes: 1,
        };
        assert_eq!(of(403, body, None), expected);
    }

    #[test]
    fn a_pause_lasts_as_long_as_meta_estimates() {
        let usage = |kind: &str, minutes: u32| {
            format!(
                r#"{{"1":[{{"type":"{kind}","call_count":100,"estimated_time_to_regain_access":{minutes}}}]}}"#
            )
        };
        let minutes = |outcome| match outcome {
            Outcome::Pause { minutes, .. } => minutes,
            _ => 0,
        };
        let management = usage("whatsapp_business_management", 19);
        assert_eq!(minutes(of(400, &error(80_007), Some(&management))), 19);
        assert_eq!(
            minutes(of(400, &error(80_007), Some(&usage("whatsapp", 9_999)))),
            1_440
        );
        assert_eq!(minutes(of(400, &error(80_007), Some("nonsense"))), 1);
        // On an accepted send, only what is about messaging closes anything.
        let accepted = r#"{"messages":[{"id":"wamid.x"}]}"#;
        assert_eq!(of(200, accepted, Some(&management)), Outcome::Accepted);
        assert_eq!(of(200, accepted, Some(&usage("whatsapp", 0))), Outcome::Accepted);
        assert_eq!(minutes(of(200, accepted, Some(&usage("whatsapp", 7)))), 7);
    }

    #[test]
    fn what_cannot_be_read_says_what_its_status_says() {
        assert_eq!(of(429, "<html>", None), Outcome::TooFast);
        assert_eq!(of(502, "<html>", None), Outcome::Refused);
        assert_eq!(of(200, "", None), Outcome::Accepted);
    }
}
