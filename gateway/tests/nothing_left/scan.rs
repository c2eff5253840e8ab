//! Looks for canaries in everything that another process has: its memory, and the files that it may write to.
//!
//! Memory is read as the kernel shows it, in `/proc/PID/maps` and `/proc/PID/mem`: every mapping that the process may read, whatever
//! it is for (heap, stacks of all threads, anonymous memory, the program and its libraries, shared memory). The process runs on
//! meanwhile. So a scan during which content moves may miss it, but content that stays where it is cannot be missed; and that is
//! what is asked.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::canary::{Canaries, Spelling};

/// How much is read at once. Neighbouring pieces overlap by the longest needle.
const PIECE: usize = 4 * 1024 * 1024;
/// How much is shown of what stands before and after the beginning of a finding.
const AROUND: usize = 64;
/// Findings as near as this to each other are told of as one: a buffer is full of them.
const NEAR: u64 = 4096;
/// What the kernel lends to every process and shows to none.
const NOT_MEMORY: [&str; 2] = ["[vvar", "[vsyscall]"];

/// One canary that was found.
pub(crate) struct Finding {
    /// Whose it is.
    pub(crate) canary: usize,
    spelling: Spelling,
    /// In the process's memory, or in the file.
    address: u64,
    place: String,
    around: Vec<u8>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            spelling,
            address,
            place,
            around,
            ..
        } = self;
        write!(
            f,
            "{spelling:?} at {address:#x} in {place}: {}",
            around.escape_ascii()
        )
    }
}

/// Findings in few lines: the first of each that stand together, whose it is, and how many these are.
pub(crate) fn told(findings: &[Finding], name: impl Fn(usize) -> String) -> String {
    let mut findings: Vec<_> = findings.iter().collect();
    findings.sort_by_key(|finding| (finding.place.as_str(), finding.address));
    let together = findings.chunk_by(|one, next| {
        one.place == next.place && one.canary == next.canary && next.address - one.address < NEAR
    });
    let lines = together.map(|group| format!("{} × {}: {}", group.len(), name(group[0].canary), group[0]));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a scan came to.
pub(crate) struct Scan {
    pub(crate) findings: Vec<Finding>,
    /// Bytes that were searched.
    pub(crate) bytes: u64,
}

/// A process's memory, open to be read.
pub(crate) struct Memory {
    id: u32,
    memory: File,
}

impl Memory {
    /// Opens the memory of the process with this id.
    ///
    /// # Errors
    ///
    /// When this process may not: the gateway lets nobody attach who lacks `CAP_SYS_PTRACE`.
    pub(crate) fn open(id: u32) -> io::Result<Self> {
        let memory = File::open(format!("/proc/{id}/mem"))?;
        let memory = Self { id, memory };
        // Opening may succeed where reading does not.
        memory.maps()?;
        Ok(memory)
    }

    /// Searches all that the process may read.
    pub(crate) fn search(&self, canaries: &Canaries) -> Scan {
        let mut scan = Scan {
            findings: Vec::new(),
            bytes: 0,
        };
        let mut piece = vec![0; PIECE];
        for map in self.maps().expect("the process runs") {
            let mut at = map.start;
            while at < map.end {
                let wanted = usize::try_from(map.end - at).map_or(PIECE, |left| left.min(PIECE));
                let read = match self.memory.read_at(&mut piece[..wanted], at) {
                    Ok(read) if read > 0 => read,
                    // Gone since the list was read, or not to be read by anybody.
                    _ => {
                        let known = NOT_MEMORY.iter().any(|name| map.name.starts_with(name));
                        assert!(known || !self.has(&map), "{} could not be read", map.name);
                        break;
                    }
                };
                let bytes = &piece[..read];
                canaries.find(bytes, |offset, canary, spelling| {
                    let from = offset.saturating_sub(AROUND);
                    let to = (offset + AROUND).min(read);
                    scan.findings.push(Finding {
                        canary,
                        spelling,
                        address: at + offset as u64,
                        place: map.name.clone(),
                        around: bytes[from..to].to_vec(),
                    });
                });
                scan.bytes += read as u64;
                // What begins in the overlap is found with the next piece as well: harmless, for one copy is too many.
                let overlap = if read == wanted && wanted == PIECE {
                    canaries.longest()
                } else {
                    0
                };
                at += (read - overlap) as u64;
            }
        }
        scan
    }

    /// Whether the mapping is still there.
    fn has(&self, map: &Map) -> bool {
        let maps = self.maps().unwrap_or_default();
        maps.iter()
            .any(|other| other.start <= map.start && map.end <= other.end)
    }

    fn maps(&self) -> io::Result<Vec<Map>> {
        let text = fs::read_to_string(format!("/proc/{}/maps", self.id))?;
        Ok(text.lines().filter_map(Map::parse).collect())
    }

    /// Searches every regular file that the process has open for writing, deleted ones too: their names, and what was found.
    pub(crate) fn search_files(&self, canaries: &Canaries) -> (Vec<PathBuf>, Vec<Finding>) {
        let mut names = Vec::new();
        let mut findings = Vec::new();
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.id)).expect("the process runs");
        for descriptor in descriptors.flatten() {
            let number = descriptor.file_name().into_string().expect("a number");
            let Ok(about) = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", self.id)) else {
                continue;
            };
            let is_file = fs::metadata(descriptor.path()).is_ok_and(|file| file.is_file());
            if !is_file || !may_write(&about) {
                continue;
            }
            let name = fs::read_link(descriptor.path()).expect("a name");
            let content = fs::read(descriptor.path()).expect("the file can be read");
            findings.extend(search_bytes(canaries, &content, &name.to_string_lossy()));
            names.push(name);
        }
        (names, findings)
    }
}

/// Searches something that is here already, and names it `place`.
pub(crate) fn search_bytes(canaries: &Canaries, bytes: &[u8], place: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    canaries.find(bytes, |at, canary, spelling| {
        findings.push(Finding {
            canary,
            spelling,
            address: at as u64,
            place: place.to_owned(),
            around: bytes[at.saturating_sub(AROUND)..(at + AROUND).min(bytes.len())].to_vec(),
        });
    });
    findings
}

/// Searches every file in a folder.
pub(crate) fn search_folder(canaries: &Canaries, folder: &std::path::Path) -> Vec<Finding> {
    let files = fs::read_dir(folder).expect("the folder").flatten();
    files
        .filter(|entry| entry.path().is_file())
        .flat_map(|entry| {
            let mut content = Vec::new();
            // A file that has gone again holds nothing.
            if let Ok(mut file) = File::open(entry.path()) {
                file.read_to_end(&mut content).expect("the file can be read");
            }
            search_bytes(canaries, &content, &entry.path().to_string_lossy())
        })
        .collect()
}

/// A range of memory that the process may read.
struct Map {
    start: u64,
    end: u64,
    name: String,
}

impl Map {
    /// A line of `/proc/PID/maps`; nothing if the process itself may not read there.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let rights = fields.next().filter(|rights| rights.starts_with('r'))?;
        let name = fields.nth(3).unwrap_or("anonymous memory");
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            name: format!("{name} ({rights})"),
        })
    }
}

/// Reads the access mode of `/proc/PID/fdinfo/N`: octal, the lowest two bits, 0 for reading only.
fn may_write(about: &str) -> bool {
    let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_none_or(|flags| flags & 3 != 0)
}

#[test]
fn a_process_finds_its_own_content() {
    let canaries = Canaries::new(2);
    let body = canaries.canary(1).fill_in_turn(2000);
    let Ok(memory) = Memory::open(std::process::id()) else {
        return super::world::cannot_read_memory();
    };
    let scan = memory.search(&canaries);
    let found = |canary| {
        scan.findings
            .iter()
            .filter(|finding| finding.canary == canary)
            .count()
    };
    // Both stand in the needles themselves; the second in the body too.
    assert!(found(0) > 0);
    assert!(found(1) > found(0) + body.len() / 500);
    assert!(scan.bytes > 1_000_000);
}
