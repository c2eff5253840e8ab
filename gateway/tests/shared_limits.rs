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

mod common;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::soon;
use common::store_server::{Kind, StoreServer};
use curfew::clock::Clock;
use curfew::config::StoreConfig;
use curfew::stores::Stores;
use curfew::stores::limits::{
    Ask, Grant, Limited, Recipient, RecipientKey, SendLimits, Share, WaitingRoom, What,
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
        let StoreConfig::Valkey { url, instances } = server.config(instances) else {
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
        assert!(total as f64 >= most * 0.95, "{total} of {most}");
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
            on_their_own as f64 > expected * 0.8,
            "{on_their_own} of {expected}"
        );
        let expected = (7.0 - (back + second).as_secs_f64()) * 200.0;
        assert!(shared as f64 > expected * 0.8, "{shared} of {expected}");
    }
}
