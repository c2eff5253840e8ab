use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[test]
fn eight_callers_racing_get_the_limit_and_no_more() {
    const MILLIS: u64 = 3_000;
    let world = world("per_second = 1000\nburst = 50\nwhen_limited = \"reject\"");
    let granted = AtomicU64::new(0);
    let elapsed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for caller in 0..8u64 {
            let (world, granted, elapsed) = (&world, &granted, &elapsed);
            scope.spawn(move || {
                let mut nth = 0u64;
                loop {
                    // The first caller moves the clock, so all see it move at any moment.
                    if caller == 0 && elapsed.fetch_add(1, Ordering::AcqRel) < MILLIS {
                        world.time.advance(Duration::from_millis(1));
                    }
                    let is_over = elapsed.load(Ordering::Acquire) >= MILLIS;
                    for _ in 0..4 {
                        nth += 1;
                        let to = format!("+{}", caller * 1_000_000_000 + nth);
                        if world.now(&message(&to)).is_ok() {
                            granted.fetch_add(1, Ordering::AcqRel);
                        }
                    }
                    if is_over {
                        break;
                    }
                }
            });
        }
    });
    let most = MILLIS + 50;
    let granted = granted.into_inner();
    assert!(granted <= most, "{granted} of {most}");
    assert!(granted * 100 >= most * 99, "{granted} of {most}");
    assert_eq!(world.number_now().granted, granted);
}

/// The clock moves while a thread waits for the lock: what the others took since is no debt of its.
#[test]
fn nobody_is_denied_for_having_been_held_up() {
    let world = world("per_second = 1000\nburst = 20\nwhen_limited = \"reject\"");
    std::thread::scope(|scope| {
        for caller in 0..4u64 {
            let world = &world;
            scope.spawn(move || {
                for nth in 0..5_000 {
                    world.time.advance_monotonic(Duration::from_millis(2));
                    let to = format!("+{}", 1_000_000 * (caller + 1) + nth);
                    assert!(world.now(&message(&to)).is_ok());
                }
            });
        }
    });
}

#[test]
fn two_numbers_of_a_portfolio_do_not_both_take_its_last_place() {
    let portfolio = "[[portfolio]]\nnumbers = [\"1001\", \"1002\"]\nunique_recipients_24h = 50";
    let sends = "burst = 1000\nwhen_limited = \"reject\"";
    let world = world_with(&policies(sends, portfolio), WaitingRoom::DEFAULT);
    let granted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = ["1001", "1002", "1001", "1002"]
            .iter()
            .enumerate()
            .map(|(thread, from)| {
                let world = &world;
                scope.spawn(move || {
                    let passes = |nth: &usize| {
                        let ask = Ask {
                            number: number(from),
                            ..template("", SendClass::Utility)
                        };
                        let to = format!("+{}", thread * 1_000 + nth);
                        let what = What::Message {
                            recipient: Recipient::Phone(&to),
                            class: SendClass::Utility,
                            is_template: true,
                        };
                        world.now(&Ask { what, ..ask }).is_ok()
                    };
                    (1..=40).filter(passes).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(granted, 50);
    assert_eq!(world.limits.snapshot().portfolios[0].counted, 50);
}

#[tokio::test]
async fn the_driver_wakes_those_who_wait() {
    let sends = "per_second = 200\nburst = 1\nmax_wait_ms = 60000";
    let key = RecipientKey::random().unwrap();
    let (set, room) = (policies(sends, ""), WaitingRoom::DEFAULT);
    let limits = SendLimits::new(&set, key, Clock::system(), Minute::REAL, room, |_| {});
    let driver = limits.clone();
    let driver = tokio::spawn(async move { driver.run().await });
    tokio::task::yield_now().await;
    let start = limits.0.now();
    let asks: Vec<_> = (0..21).map(|_| limits.admit(&receipt())).collect();
    let granted = futures_util::future::join_all(asks).await;
    assert!(granted.iter().all(Result::is_ok));
    // Twenty intervals of five milliseconds, and no fewer.
    assert!(limits.0.now() - start >= 100_000_000);
    driver.abort();
    assert!(driver.await.is_err());
    drop(granted);
    let _spent = limits.admit(&receipt()).await;
    assert!(limits.admit(&receipt()).now_or_never().unwrap().is_err());
}

/// What is granted while a reload is under way counts in what the reload makes of the portfolio.
#[test]
fn a_reload_forgets_no_recipient() {
    const SENDERS: u64 = 2;
    let together = "[[portfolio]]\nnumbers = [\"1001\", \"1003\"]\nunique_recipients_24h = 1000";
    let apart = "[[portfolio]]\nnumbers = [\"1001\"]\nunique_recipients_24h = 1000";
    let fast = "per_second = 1000\nburst = 1000\nwhen_limited = \"reject\"";
    for other in [together, apart] {
        let (one, other) = (policies(fast, together), policies(fast, other));
        let world = world_with(&one, WaitingRoom::DEFAULT);
        let sent = std::sync::atomic::AtomicUsize::new(0);
        let left = AtomicU64::new(SENDERS);
        std::thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (world, sent, left) = (&world, &sent, &left);
                scope.spawn(move || {
                    for nth in 0..300 {
                        let to = format!("+1{:010}", sender * 1_000 + nth);
                        if world.now(&template(&to, SendClass::Utility)).is_ok() {
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    left.fetch_sub(1, Ordering::Release);
                });
            }
            while left.load(Ordering::Acquire) > 0 {
                world.limits.apply(&other);
                world.limits.apply(&one);
            }
        });
        let counted = world.limits.snapshot().portfolios[0].counted;
        assert_eq!(counted, sent.load(Ordering::Relaxed));
        assert!(counted > 0);
    }
}
