//! Where a client plays: the gateway or the emulator itself, another number's medium, and a folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use curfew_emulator::{Emulator, Options};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::common::form::PNG;
use crate::common::outside::{missing, program};
use crate::common::{Client, DEFAULT, NO_STORAGE, PASS_THROUGH, Setup, TOKEN, World};

/// The account of every number.
pub const ACCOUNT: &str = "5001";

/// The key of the service that may use [`NO_STORAGE`].
const KEY: &str = "curfew-key-of-billing";
/// The key of the one that may use [`DEFAULT`].
const OTHER_KEY: &str = "curfew-key-of-support";

/// Longer than any client takes; a client that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands between a client and the Cloud API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Between {
    /// Nothing: how it is without the gateway.
    Nothing,
    /// The gateway, with the client's own Meta token.
    PassThrough,
    /// The gateway, with a key in the token's place.
    Callers,
}

/// One client's surroundings.
pub struct Stage {
    pub world: World,
    pub between: Between,
    pub base_url: String,
    pub token: &'static str,
    /// A medium of [`DEFAULT`].
    pub others_media: u64,
    pub folder: TempDir,
}

impl Stage {
    pub async fn set(between: Between) -> Self {
        let policies = match between {
            Between::Nothing | Between::PassThrough => PASS_THROUGH.to_owned(),
            Between::Callers => format!(
                "{PASS_THROUGH}{}{}",
                caller("billing", KEY, NO_STORAGE),
                caller("support", OTHER_KEY, DEFAULT)
            ),
        };
        let world = World::start(Setup {
            policies,
            emulator: Options {
                download_url: true,
                ..Options::default()
            },
            ..Setup::default()
        })
        .await;
        let (addr, token, others) = match between {
            Between::Nothing => (world.emulator.addr(), TOKEN, TOKEN),
            Between::PassThrough => (world.gateway.addr, TOKEN, TOKEN),
            Between::Callers => (world.gateway.addr, KEY, OTHER_KEY),
        };
        let others_media = Client::new(addr).bearer(others).upload(DEFAULT).await;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("photo.png"), PNG).expect("a file");
        Self {
            world,
            between,
            base_url: format!("http://{addr}"),
            token,
            others_media,
            folder,
        }
    }

    pub fn emulator(&self) -> &Emulator {
        &self.world.emulator
    }

    pub fn photo(&self) -> PathBuf {
        self.folder.path().join("photo.png")
    }

    /// Runs a script of this folder to its end and returns the report that it wrote.
    pub async fn play(&self, runtime: &Runtime, script: &str) -> Value {
        let mut command = Command::new(&runtime.program);
        command.arg(folder().join(script)).envs(runtime.environment());
        let output = self.run(command).await;
        serde_json::from_slice(&output)
            .unwrap_or_else(|error| panic!("{script}: {error}: {}", String::from_utf8_lossy(&output)))
    }

    /// Runs a program to its good end and returns what it wrote.
    ///
    /// It inherits nothing: a proxy, a `.netrc` or a `.curlrc` of whoever runs the tests would change where requests go.
    pub async fn run(&self, mut command: Command) -> Vec<u8> {
        let given: Vec<_> = command
            .as_std()
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("CURFEW_BASE_URL", &self.base_url)
            .env("CURFEW_TOKEN", self.token)
            .env("CURFEW_NUMBER", NO_STORAGE.to_string())
            .env("CURFEW_ACCOUNT", ACCOUNT)
            .env("CURFEW_OTHERS_MEDIA", self.others_media.to_string())
            .env("CURFEW_PHOTO", self.photo())
            .env("CURFEW_FOLDER", self.folder.path())
            .envs(given)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .expect("the client ends in time")
            .expect("the client starts");
        assert!(
            output.status.success(),
            "{:?}: {}\n{}",
            command.as_std(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Asserts that what reached the Cloud API bears the gateway's own mark and nothing of the client's credentials.
    pub fn assert_only_the_gateway_spoke(&self) {
        let authorization = format!("Bearer {TOKEN}");
        let user_agent = concat!("curfew/", env!("CARGO_PKG_VERSION"));
        for received in self.emulator().received() {
            assert_eq!(received.header("user-agent"), Some(user_agent), "{received:?}");
            // A stranger's token is Meta's to refuse, where callers bring their own.
            if received.header("authorization") != Some("Bearer nobody's") {
                assert_eq!(
                    received.header("authorization"),
                    Some(authorization.as_str()),
                    "{received:?}"
                );
            }
            let whole = format!("{received:?}");
            for word in [KEY, OTHER_KEY, "access_token"] {
                assert!(!whole.contains(word), "{whole}");
            }
        }
    }
}

fn caller(name: &str, key: &str, number: u64) -> String {
    let hash: String = digest::digest(&digest::SHA256, key.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!(
        "\n[[caller]]\nname = \"{name}\"\nkey_sha256 = \"{hash}\"\nnumbers = [\"{number}\"]\nmay = [\"send\", \"media\", \"read\"]\n"
    )
}

/// The bytes behind a report's text.
#[track_caller]
pub fn bytes(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap_or_else(|| panic!("no bytes: {text}"));
    STANDARD.decode(text).expect("base64")
}

/// Something that runs scripts.
pub struct Runtime {
    program: PathBuf,
    modules: Option<PathBuf>,
}

impl Runtime {
    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let mut variables = vec![("PYTHONDONTWRITEBYTECODE", PathBuf::from("1"))];
        if let Some(modules) = &self.modules {
            variables.push(("CURFEW_TEST_NODE_MODULES", modules.clone()));
        }
        variables
    }
}

const INSTALL: &str = "gateway/tests/clients/install.sh brings it";

/// The Python that has what `requirements.txt` lists: what `CURFEW_TEST_PYTHON` says, or else the system's.
pub fn python() -> Option<Runtime> {
    let program = program("CURFEW_TEST_PYTHON", "python3", INSTALL)?;
    // Isolated: what counts is what is installed.
    let output = std::process::Command::new(&program)
        .args(["-I", "-B"])
        .arg(folder().join("requirements_met.py"))
        .output()
        .expect("Python starts");
    if !output.status.success() {
        let lacks = String::from_utf8_lossy(&output.stdout);
        missing(&format!("{} for {}; {INSTALL}", lacks.trim(), program.display()));
        return None;
    }
    Some(Runtime {
        program,
        modules: None,
    })
}

/// Node, with the packages that `package-lock.json` lists: those in the `node_modules` that `CURFEW_TEST_NODE_MODULES`
/// names, or else beside the scripts.
pub fn node() -> Option<Runtime> {
    let program = program("CURFEW_TEST_NODE", "node", "Node.js 20.19 or later")?;
    let modules = std::env::var_os("CURFEW_TEST_NODE_MODULES")
        .map_or_else(|| folder().join("node_modules"), PathBuf::from);
    if let Some(lacks) = package_not_as_locked(&modules) {
        missing(&format!("{lacks} in {}; {INSTALL}", modules.display()));
        return None;
    }
    Some(Runtime {
        program,
        modules: Some(modules),
    })
}

fn package_not_as_locked(modules: &Path) -> Option<String> {
    let lock = read_json(&folder().join("package-lock.json")).expect("a lock file");
    let packages = lock["packages"].as_object().expect("packages");
    packages.iter().find_map(|(path, locked)| {
        let name = path.strip_prefix("node_modules/")?;
        let installed = read_json(&modules.join(name).join("package.json"));
        let is_locked = installed.is_some_and(|installed| installed["version"] == locked["version"]);
        (!is_locked).then(|| format!("{name} {}", locked["version"]))
    })
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Where the scripts are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}
