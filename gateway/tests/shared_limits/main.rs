//! Promise: instances that share a store never send more together than one may alone, whatever becomes of the store.
//!
//! Limits of the library, in real time, on real servers that are really killed. What is granted is what would be sent.

#![cfg(unix)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

mod cut_off;
mod model;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::soon;
use common::store_server::{Kind, StoreServer};
use curfew::clock::Clock;
use curfew::config::StoreConfig;
use curfew::stores::Stores;
use curfew::stores::limits::{
    Ask, Grant, Limit, Limited, Outcome, Place, Recipient, RecipientKey, Scope, SendLimits, Share,
    WaitingRoom, What,
};
use curfew_policies::{Minute, PhoneNumberId, SendClass, parse};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// One gateway's limits, and what keeps them.
struct Instance {
    limits: SendLimits,
    _kept: JoinSet<()>,
}

impl Instance {
    async fn start(server: &StoreServer, instances: u32, policies: &str) -> Self {
        Self::start_at(server.config(instances), policies).await
    }

    async fn start_at(store: StoreConfig, policies: &str) -> Self {
        let StoreConfig::Valkey { url, instances } = store else {
            unreachable!("a shared store")
        };
        let (clock, minute) = (Clock::system(), Minute::REAL);
        let stores = Stores::shared(&url, instances, &clock, minute)
            .await
            .expect("the store is there");
        let sharing = stores.sharing().expect("randomness").expect("a shared store");
        let policies = parse(policies).expect("policies");
        let key = RecipientKey::derived_from(b"a token").expect("a key");
        let room = WaitingRoom::DEFAULT;
        let limits = SendLimits::shared(&policies, key, (clock, minute), room, sharing, |_| {});
        let mut kept = JoinSet::new();
        kept.spawn(async move { match stores.keep().await {} });
        let running = limits.clone();
        kept.spawn(async move { match running.run().await {} });
        Self { limits, _kept: kept }
    }

    async fn send(&self, to: &str, is_template: bool) -> Result<Grant, Limited> {
        self.limits.admit(&ask(to, is_template)).await
    }

    /// Sends to `to`, again and again until it passes.
    async fn must_send(&self, to: &str) {
        soon(async {
            while self.send(to, false).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn number() -> PhoneNumberId {
    "1001".parse().expect("a number")
}

fn ask(to: &str, is_template: bool) -> Ask<'_> {
    Ask {
        number: number(),
        app: 0,
        share: Share {
            caller: 1,
            weight: NonZeroU32::MIN,
        },
        what: What::Message {
            recipient: Recipient::Phone(to),
            class: SendClass::Service,
            is_template,
        },
        bytes: 100,
    }
}

fn policies(sends: &str, more: &str) -> String {
    format!(
        "[[number]]\nphone_number_id = \"1001\"\nstorage = {{ mode = \"default\" }}\n[number.sends]\n{sends}\n{more}"
    )
}

fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("not that many"))
}

/// When sends were granted, since the start.
#[derive(Clone, Default)]
struct Granted(Arc<Mutex<Vec<Duration>>>);

impl Granted {
    /// No span of time holds more than `burst` and what `per_second` allows in it.
    fn assert_within(&self, per_second: f64, burst: f64) {
        let mut times = self.0.lock().expect("times").clone();
        times.sort_unstable();
        // A bucket that is filled at the rate: it must never be overdrawn. A grant may be seen late by as much as a busy
        // machine lets a task wait, and so come close to the next one, but not before it was given.
        let (mut level, mut last) = (burst, Duration::ZERO);
        for at in &times {
            level = (level + (*at - last).as_secs_f64() * per_second).min(burst);
            last = *at;
            level -= 1.0;
            assert!(
                level > -1.0 - per_second * 0.05,
                "{level} at {at:?} of {} sends",
                times.len()
            );
        }
    }

    fn total(&self) -> usize {
        self.0.lock().expect("times").len()
    }

    /// The first one after a time.
    fn first_after(&self, from: Duration) -> Option<Duration> {
        let times = self.0.lock().expect("times");
        times.iter().copied().filter(|at| *at > from).min()
    }

    /// How many were granted between two times.
    fn between(&self, from: Duration, to: Duration) -> usize {
        let times = self.0.lock().expect("times");
        times.iter().filter(|at| (from..to).contains(*at)).count()
    }
}

/// Callers who send as fast as they are let until `end`, each to ever other people.
fn flood(instances: &[&Instance], callers: usize, start: Instant, end: Instant) -> (Granted, JoinSet<()>) {
    let granted = Granted::default();
    let mut set = JoinSet::new();
    for (nth, instance) in instances.iter().enumerate() {
        for caller in 0..callers {
            let (limits, granted) = (instance.limits.clone(), granted.clone());
            set.spawn(async move {
                let mut sent = 0u64;
                while Instant::now() < end {
                    sent += 1;
                    let to = format!("+49{nth}{caller:03}{sent:07}");
                    match limits.admit(&ask(&to, false)).await {
                        Ok(grant) => {
                            drop(grant);
                            granted.0.lock().expect("times").push(start.elapsed());
                        }
                        Err(limited) => {
                            let wait = limited.retry_after.unwrap_or(Duration::from_secs(1));
                            sleep_until((Instant::now() + wait.min(Duration::from_millis(200))).min(end))
                                .await;
                        }
                    }
                }
            });
        }
    }
    (granted, set)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_send_together_what_one_may_alone() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let policies = policies(
            "per_second = 200\nburst = 40\npair = { seconds = 1, burst = 10 }",
            "",
        );
        let (one, other) = (
            Instance::start(&server, 2, &policies).await,
            Instance::start(&server, 2, &policies).await,
        );
        one.must_send("+4915").await;
        let start = Instant::now();
        let span = Duration::from_secs(4);
        let (granted, callers) = flood(&[&one, &other], 8, start, start + span);
        callers.join_all().await;
        granted.assert_within(200.0, 40.0);
        let most = 200.0 * span.as_secs_f64();
        let total = granted.total();
        println!("{kind:?}: {total} granted of {most} and a burst of 40");
        assert!(float(total) >= most * 0.95, "{total} of {most}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_and_comes_back_empty_lets_nobody_send_more() {
    for kind in Kind::ALL {
        let Some(mut server) = StoreServer::start(kind) else {
            continue;
        };
        let policies = policies(
            "per_second = 200\nburst = 40\npair = { seconds = 1, burst = 10 }",
            "",
        );
        let (one, other) = (
            Instance::start(&server, 2, &policies).await,
            Instance::start(&server, 2, &policies).await,
        );
        one.must_send("+4915").await;
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let (granted, callers) = flood(&[&one, &other], 8, start, at(7.0));
        sleep_until(at(1.5)).await;
        server.kill();
        let killed = start.elapsed();
        sleep_until(at(4.5)).await;
        server.begin();
        let back = start.elapsed();
        callers.join_all().await;

        granted.assert_within(200.0, 40.0);
        let second = Duration::from_secs(1);
        let on_their_own = granted.between(killed + second, back);
        let expected = (back - killed - second).as_secs_f64() * 200.0;
        let again = granted.first_after(killed + Duration::from_millis(100));
        let again = again.map(|again| again - killed);
        let shared = granted.between(back + second, Duration::from_secs(7));
        println!(
            "{kind:?}: sends again {again:?} after the kill, then {on_their_own} of {expected:.0}; back: {shared} in {:?}",
            Duration::from_secs(7) - back - second
        );
        assert!(again.is_some_and(|again| again < second), "{again:?}");
        assert!(
            float(on_their_own) > expected * 0.8,
            "{on_their_own} of {expected}"
        );
        let expected = (7.0 - (back + second).as_secs_f64()) * 200.0;
        assert!(float(shared) > expected * 0.8, "{shared} of {expected}");
    }
}

/// A pace that stops nobody, and a portfolio that may write to ten people.
fn ten_people() -> String {
    policies(
        "per_second = 1000\nburst = 1000\npair = { seconds = 1, burst = 100 }\nwhen_limited = \"reject\"",
        "[[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = 10\n",
    )
}

/// Two instances, which send.
async fn two(server: &StoreServer, policies: &str) -> (Instance, Instance) {
    let (one, other) = (
        Instance::start(server, 2, policies).await,
        Instance::start(server, 2, policies).await,
    );
    one.must_send("+4915").await;
    other.must_send("+4915").await;
    (one, other)
}

/// Which limit stops a template to this one, or `granted`.
async fn template(instance: &Instance, to: &str) -> &'static str {
    match instance.send(to, true).await {
        Ok(_) => "granted",
        Err(limited) => limited.which.name(),
    }
}

/// The same, again and again until it is `expected`.
async fn template_becomes(instance: &Instance, to: &str, expected: &str) {
    soon(async {
        while template(instance, to).await != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portfolios_recipients_are_counted_once_by_all_and_not_forgotten_with_the_store() {
    for kind in Kind::ALL {
        let Some(mut server) = StoreServer::start(kind) else {
            continue;
        };
        let (one, other) = two(&server, &ten_people()).await;
        // Five each, one of them the same.
        for nth in 0..5 {
            template_becomes(&one, &format!("+49170{nth:07}"), "granted").await;
            template_becomes(&other, &format!("+4917{:08}", nth + 4), "granted").await;
        }
        template_becomes(&one, "+491800000000", "granted").await;
        // The tenth was the last, for both, and whoever is counted already may be written to again.
        for instance in [&one, &other] {
            template_becomes(instance, "+491900000000", "unique_recipients").await;
            template_becomes(instance, "+491800000000", "granted").await;
        }
        server.kill();
        // Neither has anything left of it for itself.
        for instance in [&one, &other] {
            template_becomes(instance, "+491700000004", "granted").await;
            template_becomes(instance, "+491900000000", "unique_recipients").await;
        }
        server.begin();
        for instance in [&one, &other] {
            instance.must_send("+4916").await;
        }
        for (nth, instance) in [&one, &other, &one, &other].into_iter().enumerate() {
            template_becomes(instance, &format!("+4920000000{nth}"), "unique_recipients").await;
            template_becomes(instance, "+491700000004", "granted").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_gets_no_more_from_two_than_from_one_whether_the_store_is_there_or_not() {
    for kind in Kind::ALL {
        let Some(mut server) = StoreServer::start(kind) else {
            continue;
        };
        let sends =
            "per_second = 1000\nburst = 1000\npair = { seconds = 1, burst = 3 }\nwhen_limited = \"reject\"";
        let (one, other) = two(&server, &policies(sends, "")).await;
        let granted = Granted::default();
        let start = Instant::now();
        let mut set = JoinSet::new();
        for instance in [&one, &other] {
            let (limits, granted) = (instance.limits.clone(), granted.clone());
            set.spawn(async move {
                while start.elapsed() < Duration::from_secs(6) {
                    if limits.admit(&ask("+491777", false)).await.is_ok() {
                        granted.0.lock().expect("times").push(start.elapsed());
                    }
                    sleep_until(Instant::now() + Duration::from_millis(5)).await;
                }
            });
        }
        sleep_until(start + Duration::from_millis(1500)).await;
        server.kill();
        sleep_until(start + Duration::from_millis(4000)).await;
        server.begin();
        set.join_all().await;
        granted.assert_within(1.0, 3.0);
        println!("{kind:?}: {} of 3 and one a second for 6 s", granted.total());
        assert!(granted.total() >= 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meta_says_to_one_instance_all_obey() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let (one, other) = two(&server, &ten_people()).await;
        let recipient = Recipient::Phone("+491700000001");
        let id = one.limits.identify(number(), recipient);
        one.limits.observe(number(), 0, Some(id), &Outcome::PairTooFast);
        for _ in 0..2 {
            let stop = Outcome::Stop {
                scope: Scope::Number,
                code: 131_048,
            };
            one.limits.observe(number(), 0, None, &stop);
            template_becomes(&other, "+491700000002", "closed").await;
            // An operator opens it at the other one.
            soon(async { while !other.limits.open(Place::Number(number())) {} }).await;
            template_becomes(&one, "+491700000002", "granted").await;
        }
        // A second one closes for four seconds, since the first was counted by both.
        let struck =
            |answer: Result<Grant, Limited>| answer.err().is_some_and(|limited| limited.which == Limit::Pair);
        other.must_send("+491700000001").await;
        other.limits.observe(number(), 0, Some(id), &Outcome::PairTooFast);
        soon(async { while !struck(one.send("+491700000001", false).await) {} }).await;
        let limited = one
            .send("+491700000001", false)
            .await
            .expect_err("the pair is closed");
        assert!(limited.retry_after > Some(Duration::from_secs(2)), "{limited:?}");
        // 130429: half of the rate for both.
        other.limits.observe(number(), 0, None, &Outcome::TooFast);
        soon(async {
            while one.limits.snapshot().numbers["1001"].current_per_second != 500 {
                let _ = one.send("+491700000003", false).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_the_store_tells_who_was_written_to() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let (one, other) = two(&server, &ten_people()).await;
        template_becomes(&one, "+491712345678", "granted").await;
        template_becomes(&other, "+491712345679", "granted").await;
        one.limits
            .inbound(number(), Some(Recipient::Phone("+491712345678")));
        let held = server.contents();
        let holds = |what: &[u8]| held.windows(what.len()).any(|some| some == what);
        assert!(holds(b"curfew:{sends:1001}:recipients"), "it was looked at");
        for canary in ["1712345678", "1712345679", "712345"] {
            assert!(!holds(canary.as_bytes()), "{canary}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_too_many_sends_nothing_and_a_place_that_is_given_up_is_free() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let (one, other) = two(&server, &ten_people()).await;
        let third = Instance::start(&server, 2, &ten_people()).await;
        let until = Instant::now() + Duration::from_secs(1);
        while Instant::now() < until {
            assert!(third.send("+4917", false).await.is_err(), "two are two");
            sleep_until(Instant::now() + Duration::from_millis(20)).await;
        }
        other.limits.leave().await;
        third.must_send("+4917").await;
        assert!(other.send("+4917", false).await.is_err());
        one.must_send("+4918").await;
    }
}

/// What asking the store adds to a send that nothing limits. Printed; the bound is for a busy machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_nothing_limits_waits_for_one_answer_of_the_store() {
    for kind in Kind::ALL {
        let Some(server) = StoreServer::start(kind) else {
            continue;
        };
        let sends = "per_second = 1000\nburst = 1000\nwhen_limited = \"reject\"";
        let (one, _other) = two(&server, &policies(sends, "")).await;
        // Until the burst is there.
        sleep_until(Instant::now() + Duration::from_millis(900)).await;
        let mut times = Vec::new();
        for nth in 0..700 {
            let to = format!("+49170{nth:07}");
            let begin = Instant::now();
            assert!(one.send(&to, false).await.is_ok());
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        let at = |part: usize| times[times.len() * part / 1000];
        println!(
            "{kind:?}: {} sends, p50 {:?}, p99 {:?}",
            times.len(),
            at(500),
            at(990)
        );
        assert!(at(990) < Duration::from_millis(50));
    }
}
