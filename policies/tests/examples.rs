//! The files that people copy: each is read, and means what its comments say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use curfew_policies::{
    Credential, Enforcement, Links, NumberPolicy, OperationClass, PhoneNumberId, PolicySet, SendClass,
    StorageMode, UnknownIds, UnverifiedOperation, WhenLimited, parse,
};

#[cfg(test)]
mod examples {
    use super::*;

    fn example(name: &str) -> PolicySet {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        let text = fs::read_to_string(&path).unwrap();
        parse(&text).unwrap_or_else(|problems| {
            let all: Vec<_> = problems.iter().map(ToString::to_string).collect();
            panic!("{name}:\n{}", all.join("\n"));
        })
    }

    fn number<'a>(policies: &'a PolicySet, id: &str) -> &'a NumberPolicy {
        &policies.numbers[&id.parse::<PhoneNumberId>().unwrap()]
    }

    fn ttl(number: &NumberPolicy) -> [u32; 3] {
        let bounds = number.media.ttl;
        [
            bounds.min().minutes(),
            bounds.max().minutes(),
            bounds.default().minutes(),
        ]
    }

    #[test]
    fn every_example_has_a_test() {
        let files: BTreeSet<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let tested = ["bank.toml", "hospital.toml", "minimal.toml", "mixed.toml"];
        assert_eq!(files, tested.map(str::to_owned).into());
    }

    #[test]
    fn minimal() {
        let policies = example("minimal.toml");
        assert_eq!(policies.enforcement, Enforcement::Enforce);
        assert!(policies.is_pass_through());
        assert_eq!(policies.numbers.len(), 1);
        let number = number(&policies, "106540352242922");
        assert_eq!(number.storage, StorageMode::NoStorage);
        assert_eq!(number.verify_settings_minutes, 15);
        assert_eq!(number.media.links, Links::Hosts(Vec::new()));
        assert_eq!(number.media.unknown_ids, UnknownIds::Verify);
        assert_eq!(ttl(number), [60, 1_440, 120]);
    }

    #[test]
    fn bank() {
        let policies = example("bank.toml");
        assert_eq!(policies.enforcement, Enforcement::Enforce);
        let desk = number(&policies, "106540352242922");
        assert_eq!(desk.storage, StorageMode::NoStorage);
        assert_eq!(desk.verify_settings_minutes, 5);
        assert_eq!(ttl(desk), [60, 240, 60]);
        assert_eq!(desk.media.unknown_ids, UnknownIds::Deny);
        assert_eq!(
            desk.media.links,
            Links::Hosts(vec!["cdn.bank.example".to_owned()])
        );
        assert_eq!(desk.media.cache_minutes, 0);
        assert!(!desk.media.reuse);
        assert!(policies.knows_account("102290129340398".parse().unwrap()));
        let otp = number(&policies, "106540352242923");
        assert_eq!((otp.sends.per_second, otp.sends.burst), (80, 80));
        assert_eq!(otp.sends.kept_for_inbound, 20);
        let limited = SendClass::ALL.map(|class| otp.sends.when_limited(class));
        assert_eq!(limited[0], WhenLimited::Reject);
        assert_eq!(limited[1..], [WhenLimited::Wait; 3]);
        let templates = &otp.sends.classes.templates;
        assert_eq!(templates["one_time_code"], SendClass::Authentication);
        assert_eq!(templates["card_blocked"], SendClass::Utility);
        let [portfolio] = &policies.portfolios[..] else {
            panic!("one portfolio");
        };
        assert_eq!(
            (portfolio.numbers.len(), portfolio.unique_recipients_24h),
            (2, 10_000)
        );

        let names: Vec<_> = policies
            .callers
            .iter()
            .map(|caller| caller.name.as_str())
            .collect();
        assert_eq!(names, ["service-desk", "otp", "platform-team"]);
        let [desk, otp, platform] = &policies.callers[..] else {
            panic!("three callers");
        };
        assert_eq!(desk.credential, Credential::KeySha256([0x11; 32]));
        assert_eq!(otp.may, [OperationClass::Send]);
        assert_eq!((desk.weight.get(), otp.weight.get()), (1, 4));
        assert_eq!(otp.repeat_window_s.map(std::num::NonZero::get), Some(30));
        assert!(!otp.may_use("106540352242922".parse().unwrap()));
        assert_eq!(
            platform.credential,
            Credential::TlsSan("platform.bank.example".to_owned())
        );
        assert!(
            !platform.may.contains(&OperationClass::Send) && !platform.may.contains(&OperationClass::Media)
        );
    }

    #[test]
    fn hospital() {
        let policies = example("hospital.toml");
        let number = number(&policies, "106540352242930");
        assert_eq!(number.storage, StorageMode::InCountry("DE".parse().unwrap()));
        assert!(!number.allow_deregister);
        assert_eq!(
            number.media.links,
            Links::Hosts(vec!["media.hospital.example".to_owned()])
        );
        assert_eq!(number.media.cache_minutes, 10);
        assert!(number.media.reuse);
        assert!(
            policies
                .callers
                .iter()
                .all(|caller| matches!(caller.credential, Credential::TlsSan(_)))
        );
        let setup = &policies.callers[1];
        assert_eq!(setup.may, [OperationClass::Read, OperationClass::Storage]);
    }

    #[test]
    fn mixed() {
        let policies = example("mixed.toml");
        assert_eq!(policies.enforcement, Enforcement::Monitor);
        assert!(policies.is_pass_through());
        let marketing = number(&policies, "106540352242940");
        assert_eq!(marketing.storage, StorageMode::Default);
        assert_eq!(marketing.media.links, Links::Any);
        assert_eq!(marketing.media.unknown_ids, UnknownIds::Allow);
        assert_eq!(
            (marketing.sends.per_second, marketing.sends.burst),
            (1_000, 2_000)
        );
        assert_eq!(marketing.sends.max_wait_ms, 10_000);
        let claims = number(&policies, "106540352242941");
        assert_eq!(
            claims.allow_unverified.operations,
            [
                UnverifiedOperation::MarketingMessages,
                UnverifiedOperation::FlowAssets
            ]
        );
        assert_eq!(ttl(claims), [60, 10_080, 1_440]);
        let india = number(&policies, "106540352242942");
        assert_eq!(india.storage, StorageMode::InCountry("IN".parse().unwrap()));
        assert_eq!(india.waba_id, None);
    }
}
