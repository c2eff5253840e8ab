//! Of any number of sends with one key at once, one goes out.

use futures_util::future::{join, join_all};

use super::*;

const PAIRS: usize = 300;
/// How many pairs are under way at once.
const AT_ONCE: usize = 20;

async fn race(store: StoreConfig) {
    let world = World::start(Setup {
        store,
        ..Setup::default()
    })
    .await;
    let client = world.client();
    let mut told = 0;
    for first in (0..PAIRS).step_by(AT_ONCE) {
        let pairs = (first..first + AT_ONCE).map(|pair| {
            let client = client.clone();
            async move {
                let key = format!("pair-{pair}");
                let body = text(&format!("+1555020{pair:04}"), "Hello");
                let target = messages(DEFAULT);
                let keys = [key.as_str()];
                let send = || send_to(&client, &target, &keys, &body);
                join(send(), send()).await
            }
        });
        for (one, other) in join_all(pairs).await {
            let fresh = [&one, &other].map(|reply| reply.status == 200 && !is_replayed(reply));
            assert_eq!(fresh.iter().filter(|is_fresh| **is_fresh).count(), 1);
            for reply in [one, other] {
                match reply.status.as_u16() {
                    200 => told += 1,
                    _ => reply.assert_refused(409, 100, "idempotency_running"),
                }
            }
        }
    }
    let mut recipients: Vec<_> = world
        .emulator
        .sent()
        .into_iter()
        .map(|sent| sent.recipient)
        .collect();
    assert_eq!(recipients.len(), PAIRS);
    recipients.sort();
    recipients.dedup();
    assert_eq!(recipients.len(), PAIRS, "each was sent once");
    println!(
        "{PAIRS} pairs: {told} answered with the outcome, {} told to wait",
        2 * PAIRS - told
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_is_sent() {
    race(StoreConfig::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_is_sent_with_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    race(StoreConfig::Sqlite {
        path: folder.path().join("curfew.db"),
    })
    .await;
}
