//! New policies, and what they mean for what is kept.

use std::sync::Arc;

use arc_swap::ArcSwap;
use curfew_policies::{NumberPolicy, PhoneNumberId, PolicySet};

use crate::stores::media_cache::{MediaCache, PurgeOrder, Scope};

/// Puts `new` in force for requests that come from now on, and ends the copies that were kept under other terms.
///
/// In this order: a copy that is begun under the old policies meanwhile is seen by whoever began it, who looks at the
/// policies once more.
pub fn adopt(policies: &ArcSwap<PolicySet>, media_cache: &MediaCache, new: PolicySet) {
    let new = Arc::new(new);
    let old = policies.swap(Arc::clone(&new));
    for number in kept_otherwise(&old, &new) {
        media_cache.purge(Scope::Number(number), PurgeOrder::PolicyChange);
    }
}

/// The numbers whose media may not be kept as they were.
fn kept_otherwise<'p>(
    old: &'p PolicySet,
    new: &'p PolicySet,
) -> impl Iterator<Item = PhoneNumberId> + use<'p> {
    let terms = |policy: &NumberPolicy| (policy.storage, policy.media.cache_minutes);
    let changed = move |(number, before): (&PhoneNumberId, &NumberPolicy)| {
        let now = new.numbers.get(number).map(terms);
        (now != Some(terms(before))).then_some(*number)
    };
    old.numbers.iter().filter_map(changed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use curfew_policies::Timestamp;
    use http::HeaderValue;

    use super::*;
    use crate::clock::Clock;
    use crate::graph::answer::MediaContent;
    use crate::stores::media_cache::{CacheLimits, Life, MediaKey, Opened};

    fn policies(numbers: &[(u64, &str)]) -> PolicySet {
        let table =
            |(number, rest): &(u64, &str)| format!("[[number]]\nphone_number_id = \"{number}\"\n{rest}\n");
        curfew_policies::parse(&numbers.iter().map(table).collect::<String>()).unwrap()
    }

    #[test]
    fn what_new_policies_keep_otherwise_ends_at_once_and_the_rest_stays() {
        const NO_STORAGE: &str = "storage = { mode = \"no_storage\" }";
        let before = policies(&[(1, NO_STORAGE), (2, NO_STORAGE), (3, NO_STORAGE), (4, NO_STORAGE)]);
        let after = policies(&[
            (1, NO_STORAGE),
            (2, &format!("{NO_STORAGE}\n[number.media]\ncache_minutes = 0")),
            (3, "storage = { mode = \"in_country\", region = \"DE\" }"),
            (5, NO_STORAGE),
        ]);
        let (clock, _time) = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let cache = MediaCache::new(CacheLimits::DEFAULT, clock.clone(), |_| {});
        let key = |number: u64| MediaKey {
            number: number.to_string().parse().unwrap(),
            media: "77".parse().unwrap(),
        };
        for number in 1..=4 {
            let content = MediaContent {
                content_type: HeaderValue::from_static("image/png"),
                size: Some(4),
                sha256: None,
            };
            let life = Life {
                ends: clock.now().after(Duration::from_secs(60)),
                at_most: Duration::from_secs(60),
            };
            let Opened::Lead(mut fill, _reader) = cache.open(key(number), &content, life) else {
                panic!("nothing was there");
            };
            fill.push(b"data").unwrap();
            fill.finish().unwrap();
        }
        let in_force = ArcSwap::from_pointee(before);
        adopt(&in_force, &cache, after);
        let kept: Vec<_> = (1..=4)
            .filter(|number| cache.find(key(*number)).is_some())
            .collect();
        assert_eq!(kept, [1]);
        assert!(in_force.load().numbers.contains_key(&key(5).number));
        assert_eq!(cache.stats().held_bytes, 4);
    }
}
