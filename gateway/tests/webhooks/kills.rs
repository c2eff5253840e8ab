//! A gateway that is killed while it hands webhooks on loses none of them, and leaves nothing of them behind.

use std::collections::HashMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex};

use curfew_emulator::Options;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use common::process::{Gateway, write_config};
use common::{NO_STORAGE, PASS_THROUGH, TOKEN};

const ROUNDS: u64 = 8;
/// Fewer than the emulator delivers at a time.
const MESSAGES: usize = 40;
const WORDS: &str = "canary-5b2e-of-the-kills";

/// An address that stays while gateways come and go: the callback as Meta knows it.
struct FrontOfGateways {
    url: String,
    behind: Arc<Mutex<Option<SocketAddr>>>,
}

impl FrontOfGateways {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{PATH}", listener.local_addr().unwrap());
        let behind: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let now = Arc::clone(&behind);
        tokio::spawn(async move {
            while let Ok((mut meta, _)) = listener.accept().await {
                let address = *now.lock().unwrap();
                tokio::spawn(async move {
                    // Without a gateway Meta is hung up on.
                    let Some(address) = address else { return };
                    if let Ok(mut gateway) = TcpStream::connect(address).await {
                        let _ = copy_bidirectional(&mut meta, &mut gateway).await;
                    }
                });
            }
        });
        Self { url, behind }
    }

    fn leads_to(&self, gateway: Option<SocketAddr>) {
        *self.behind.lock().unwrap() = gateway;
    }
}

/// A gateway in a process of its own, and where it takes webhooks.
async fn gateway(folder: &Path) -> (Gateway, SocketAddr) {
    let mut gateway = Gateway::start(folder).await;
    let line = gateway.program.log_line("listening for webhooks").await;
    let (_, address) = line.split_once("address=").unwrap();
    (gateway, address.trim().parse().unwrap())
}

fn config(receiver: &str) -> String {
    format!(
        "app_secret = {{ file = \"app-secret\" }}\n[webhooks]\nlisten = \"127.0.0.1:0\"\npath = \"{PATH}\"\n\
         verify_token = {{ file = \"verify-token\" }}\ndeliver_to = \"{receiver}\"\n\
         [store]\nkind = \"sqlite\"\npath = \"curfew.db\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_webhook_is_lost_by_kill_9_of_the_gateway() {
    let front = FrontOfGateways::start().await;
    let mut receiver = Receiver::start().await;
    let emulator = Emulator::start(Options {
        numbers: Options::from_policies_toml(PASS_THROUGH).unwrap(),
        tokens: vec![TOKEN.to_owned()],
        webhook_url: Some(front.url.clone()),
        ..Options::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    write_config(
        folder.path(),
        &emulator.base_url(),
        PASS_THROUGH,
        &config(&receiver.url),
    );
    fs::write(folder.path().join("app-secret"), APP_SECRET).unwrap();
    fs::write(folder.path().join("verify-token"), "verify-token").unwrap();

    let mut heard: HashMap<String, usize> = HashMap::new();
    let mut told = 0;
    for round in 0..ROUNDS {
        emulator.clear_record();
        let (killed, address) = gateway(folder.path()).await;
        front.leads_to(Some(address));
        for _ in 0..MESSAGES {
            let _ = emulator.inbound_text(NO_STORAGE, "4915112345678", WORDS);
        }
        told += MESSAGES;
        let enough = RandomState::new().hash_one(round) % u64::try_from(MESSAGES).unwrap();
        for _ in 0..=enough {
            *heard.entry(id(&receiver.next().await)).or_default() += 1;
        }
        killed.program.kill();
        front.leads_to(None);
        // Each was tried; what was not heard waits.
        soon(emulator.until(|emulator| emulator.webhooks().len() >= MESSAGES)).await;
        let (next, address) = gateway(folder.path()).await;
        front.leads_to(Some(address));
        emulator.advance(10);
        let all_taken = |emulator: &Emulator| {
            let attempts = emulator.webhooks();
            attempts
                .iter()
                .filter(|attempt| attempt.status == Some(200))
                .count()
                == MESSAGES
        };
        soon(emulator.until(all_taken)).await;
        while !receiver.is_idle() {
            *heard.entry(id(&receiver.next().await)).or_default() += 1;
        }
        next.program.kill();
    }
    assert_eq!(heard.len(), told, "webhooks were lost");
    // What the receiver had taken and Meta had not heard of comes again, with the same id.
    let twice = heard.values().filter(|times| **times > 1).count();
    assert!(heard.values().all(|times| *times <= 2) && twice < told, "{twice}");

    let mut searched = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let holds = |needle: &str| memchr::memmem::find(&bytes, needle.as_bytes()).is_some();
        assert!(!holds(WORDS) && !holds("4915112345678"));
        searched += bytes.len();
    }
    // The store among them.
    assert!(searched > 4096, "{searched}");
}

fn id(got: &receiver::Got) -> String {
    got.value()["messages"][0]["id"].as_str().unwrap().to_owned()
}
