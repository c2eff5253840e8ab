//! The real program, in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use super::{outside, soon};

/// A running `curfew`. Dropped, it is killed.
pub struct Program {
    child: Option<Child>,
    out: mpsc::UnboundedReceiver<String>,
    log: mpsc::UnboundedReceiver<String>,
}

impl Program {
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// The same, with these environment variables.
    pub fn start_with(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = command(folder, args)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = lines(child.stdout.take().expect("a pipe"));
        let log = lines(child.stderr.take().expect("a pipe"));
        Self {
            child: Some(child),
            out,
            log,
        }
    }

    /// The next line of standard output.
    pub async fn out_line(&mut self) -> String {
        soon(self.out.recv()).await.expect("a line of output")
    }

    /// The next line of the log that has this in it.
    pub async fn log_line(&mut self, part: &str) -> String {
        loop {
            let line = soon(self.log.recv()).await;
            let line = line.unwrap_or_else(|| panic!("the log ends without {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Every line of the log and of standard output that has come and that nobody has read.
    pub fn lines_so_far(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for receiver in [&mut self.out, &mut self.log] {
            while let Ok(line) = receiver.try_recv() {
                lines.push(line);
            }
        }
        lines
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to read its policies anew (SIGHUP).
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("a signal");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let waited = tokio::task::spawn_blocking(move || child.wait());
        soon(waited).await.expect("no panic").expect("an exit status")
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether this machine has the tools that a test needs and Cargo does not bring.
pub fn has_tools(tools: &[&str]) -> bool {
    let is_there = |tool: &&str| {
        let variable = format!("CURFEW_TEST_{}", tool.to_ascii_uppercase());
        outside::program(&variable, tool, "the system's package of that name").is_some()
    };
    tools.iter().all(is_there)
}

/// Runs a script with `sh`, as if it were pasted.
pub fn paste(folder: &Path, script: &str) -> Run {
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    Run::of(&output)
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

/// Runs the program to its end.
pub fn run(folder: &Path, args: &[&str]) -> Run {
    Run::of(&command(folder, args).output().expect("the program starts"))
}

/// Runs it with this standard input.
pub fn run_with_input(folder: &Path, args: &[&str], input: &[u8]) -> Run {
    let mut child = command(folder, args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("it reads");
    drop(stdin);
    Run::of(&child.wait_with_output().expect("an end"))
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_curfew"));
    command
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env_remove("CURFEW_LOG");
    command
}

/// The lines of a pipe, read to its end whether anybody listens or not: who writes must not wait.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// `curfew run` in `folder`, listening.
pub struct Gateway {
    pub program: Program,
    pub addr: SocketAddr,
    pub admin: SocketAddr,
}

impl Gateway {
    /// Starts on what [`write_config`] wrote.
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[]).await
    }

    /// The same, with these environment variables.
    pub async fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut program = Program::start_with(folder, &["run", "--config", "curfew.toml"], variables);
        let line = program.log_line("listening").await;
        let address = |name: &str| {
            let (_, rest) = line.split_once(name).expect("an address");
            let text = rest.split_whitespace().next().expect("an address");
            text.parse().expect("an address")
        };
        let (addr, admin) = (address(" address="), address(" admin="));
        Self { program, addr, admin }
    }
}

/// Writes `curfew.toml` and `policies.toml`: any port, this upstream, and these lines more.
pub fn write_config(folder: &Path, upstream: &str, policies: &str, more: &str) {
    let config = format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\npolicies = \"policies.toml\"\n\
         [upstream]\ngraph = \"{upstream}\"\nmedia = [\"{upstream}\"]\n{more}"
    );
    fs::write(folder.join("curfew.toml"), config).expect("a file");
    fs::write(folder.join("policies.toml"), policies).expect("a file");
}
