//! `curfew explain`: what the policies make of a recorded request, rule by rule, without sending anything.

use std::borrow::Cow;
use std::io::{self, Read as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use curfew_policies::{
    Caller, Decision, Facts, MediaFact, MediaId, NumberPolicy, ObservedStorage, Operation, Origin,
    PhoneNumberId, Pin, PolicySet, Request, SettingsFact, StorageMode, Subject, Upload, Verdict, decide,
    explain,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{Failure, complain};
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::graph::classify::{Head, classify};
use crate::graph::multipart::{FormKind, read_form};
use crate::graph::routes::BodyKind;
use crate::layers::reading::{
    expect_json, file_offset, form_boundary, form_kind, operation_of_form, operation_of_json,
    operation_without_body,
};
use crate::server::check_target;

/// Show what the policies make of a recorded request, without sending it.
///
/// Prints the operation that the request is, each rule's verdict and the decision. Exits with 0 if the request would be
/// allowed, with 1 if not.
#[derive(Args, Debug)]
pub struct Explain {
    /// The policies.
    #[arg(long, value_name = "FILE")]
    policies: PathBuf,
    /// On whose behalf, by the caller's name; needed when the policies declare callers.
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// What the number's settings at Meta say.
    #[arg(long, value_enum, default_value_t = Settings::AsDeclared)]
    settings: Settings,
    /// A medium that is pinned to a number and alive, as MEDIA=NUMBER; may be repeated. Others are unknown.
    #[arg(long, value_name = "MEDIA=NUMBER", value_parser = parse_pin)]
    media: Vec<(MediaId, PhoneNumberId)>,
    /// The request as HTTP/1.1 text: request line, headers, an empty line, body. `-` reads standard input.
    request: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Settings {
    /// What the policies declare.
    AsDeclared,
    /// Default storage.
    Default,
    /// They cannot be read.
    Unread,
}

fn parse_pin(text: &str) -> Result<(MediaId, PhoneNumberId), String> {
    let (media, number) = text.split_once('=').ok_or("must be MEDIA=NUMBER")?;
    let media = media.parse().map_err(|error| format!("MEDIA {error}"))?;
    let number = number.parse().map_err(|error| format!("NUMBER {error}"))?;
    Ok((media, number))
}

/// Runs `curfew explain`: 0 if the request would be allowed, 1 if not, or if it cannot be read.
#[must_use]
pub fn run(args: &Explain) -> ExitCode {
    match explained(args, &mut io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            complain(failure.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn explained(args: &Explain, out: &mut impl Write) -> Result<bool, Failure> {
    let text = std::fs::read_to_string(&args.policies)
        .map_err(|error| format!("{}: {error}", args.policies.display()))?;
    let policies = curfew_policies::parse(&text).map_err(|problems| {
        let first = problems.first();
        let first =
            first.map(|problem| format!("line {}: {}: {}", problem.line, problem.key, problem.message));
        format!(
            "{}: {}; `curfew check` shows all",
            args.policies.display(),
            first.unwrap_or_default()
        )
    })?;
    let caller = caller(args, &policies)?;
    let recorded = Recorded::read(args)?;
    writeln!(out, "request    {} {}", recorded.method, recorded.target)?;
    let request = match recorded.request(&policies) {
        Ok(request) => request,
        Err(error) => {
            writeln!(
                out,
                "decision   refused before any rule: {}: {error}",
                error.slug()
            )?;
            return Ok(false);
        }
    };
    write_request(&request, &policies, out)?;
    let media = media_facts(args, &request);
    let facts = Facts {
        now: Clock::system().now(),
        media: &media,
        settings: settings_fact(args, &request, &policies),
        recent_registrations: 0,
    };
    let verdicts = explain(&policies, caller, &request, &facts);
    for (rule, verdict) in verdicts {
        let told = match &verdict {
            Verdict::NotConcerned => "-".to_owned(),
            Verdict::Passed => "passed".to_owned(),
            Verdict::PassedWithTtl(ttl) => format!("passed, ttl_minutes {ttl}"),
            Verdict::PassedUnverified(used) => format!("passed by allow_unverified: {used}"),
            Verdict::Refused(reason) => format!("REFUSED {}: {reason}", reason.slug()),
        };
        writeln!(out, "  {rule:<16} {told}")?;
    }
    match decide(&policies, caller, &request, &facts) {
        Decision::Allow(permit) => {
            match permit.observed() {
                None => writeln!(out, "decision   allowed")?,
                Some(reason) => writeln!(
                    out,
                    "decision   allowed, because enforcement is \"monitor\"; recorded as {}",
                    reason.slug()
                )?,
            }
            Ok(true)
        }
        Decision::Deny(reason) => {
            let slug = reason.slug();
            let response = GatewayError::denied(reason, request.subject).to_response();
            writeln!(
                out,
                "decision   refused: HTTP {}, {slug}",
                response.status().as_u16()
            )?;
            Ok(false)
        }
    }
}

fn caller<'a>(args: &Explain, policies: &'a PolicySet) -> Result<Caller<'a>, Failure> {
    let names = || {
        policies
            .callers
            .iter()
            .map(|caller| caller.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match &args.caller {
        None if policies.is_pass_through() => Ok(Caller::PassThrough),
        None => Err(format!("--caller is needed: the policies declare {}", names()).into()),
        Some(name) => policies
            .callers
            .iter()
            .find(|caller| caller.name == *name)
            .map(Caller::Known)
            .ok_or_else(|| format!("no caller is named {name:?}; the policies declare {}", names()).into()),
    }
}

/// A recorded request, taken apart. It was recorded, not received: lines may end in LF, and a length is not checked.
struct Recorded {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Its lines end in LF alone, so a form in its body has lost its CRs too.
    ends_lines_in_lf: bool,
}

impl Recorded {
    fn read(args: &Explain) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        if args.request.as_os_str() == "-" {
            io::stdin().lock().read_to_end(&mut bytes)?;
        } else {
            bytes = std::fs::read(&args.request)
                .map_err(|error| format!("{}: {error}", args.request.display()))?;
        }
        Self::parse(&bytes).ok_or_else(|| {
            "the request must be HTTP/1.1 text: METHOD TARGET HTTP/1.1, headers, an empty line, body".into()
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, body) = split_head(bytes);
        let head = std::str::from_utf8(head).ok()?;
        let ends_lines_in_lf = head.contains('\n') && !head.contains('\r');
        let mut lines = head.lines();
        let mut words = lines.next()?.split(' ');
        let method = words.next()?.parse().ok()?;
        let target = words.next()?.to_owned();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            headers.append(
                name.parse::<HeaderName>().ok()?,
                HeaderValue::from_str(value.trim()).ok()?,
            );
        }
        Some(Self {
            method,
            target,
            headers,
            body: body.to_vec(),
            ends_lines_in_lf,
        })
    }

    fn request(&self, policies: &PolicySet) -> Result<Request<'static>, GatewayError> {
        check_target(&self.target).map_err(GatewayError::FrontDoor)?;
        let (path, query) = self
            .target
            .split_once('?')
            .map_or((self.target.as_str(), None), |(p, q)| (p, Some(q)));
        let head = classify(policies, &self.method, path, query)?;
        file_offset(head.route, &self.headers)?;
        Ok(Request {
            subject: head.subject,
            generation: head.generation(),
            operation: self.operation(&head)?,
        })
    }

    fn operation(&self, head: &Head) -> Result<Operation<'static>, GatewayError> {
        if let Some(kind) = form_kind(head.route.body, &self.headers) {
            return self.form(kind, head);
        }
        match head.route.body {
            BodyKind::None if !self.body.is_empty() => Err(GatewayError::UnexpectedBody),
            BodyKind::None | BodyKind::Raw => Ok(operation_without_body(head.route, head.node)),
            BodyKind::JsonOrNone if self.body.is_empty() => Ok(operation_without_body(head.route, head.node)),
            BodyKind::Json | BodyKind::JsonOrNone | BodyKind::Form(_) | BodyKind::JsonOrForm(_) => {
                expect_json(&self.headers, head.route.body)?;
                operation_of_json(head, &self.body).map(|(operation, _)| operation)
            }
        }
    }

    fn form(&self, kind: &'static FormKind, head: &Head) -> Result<Operation<'static>, GatewayError> {
        let boundary = form_boundary(&self.headers)?;
        let body = if self.ends_lines_in_lf {
            Cow::Owned(with_crlf(&self.body, boundary.line()))
        } else {
            Cow::Borrowed(self.body.as_slice())
        };
        let form = read_form(kind, &boundary, &body)?;
        Ok(match operation_of_form(head, &form.fields, &form.file) {
            Operation::UploadMedia(begun) => Operation::UploadMedia(Upload {
                complete: true,
                file_bytes: form.file_bytes,
                ..begun
            }),
            operation => operation,
        })
    }
}

fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    let crlf = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| (at, 4));
    let lf = memchr::memmem::find(bytes, b"\n\n").map(|at| (at, 2));
    let first = match (crlf, lf) {
        (Some(crlf), Some(lf)) => Some(crlf.min(lf)),
        (found, None) | (None, found) => found,
    };
    match first {
        Some((at, length)) => (
            bytes.get(..at).unwrap_or_default(),
            bytes.get(at + length..).unwrap_or_default(),
        ),
        None => (bytes, &[]),
    }
}

/// Gives a form back the line breaks that recording has taken: those of boundaries and part headers. Content stays as it is.
fn with_crlf(body: &[u8], boundary: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut in_part_head = false;
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let rest = text.strip_prefix(boundary);
        if rest.is_some_and(|rest| rest.is_empty() || rest == b"--") {
            // The break before a boundary is the boundary's.
            if out.pop_if(|last| *last == b'\n').is_some() {
                out.extend_from_slice(b"\r\n");
            }
            in_part_head = true;
        }
        if in_part_head {
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
            in_part_head = !text.is_empty();
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

fn number<'a>(request: &Request<'_>, policies: &'a PolicySet) -> Option<&'a NumberPolicy> {
    match request.subject {
        Subject::Number(number) | Subject::Media { number: Some(number) } => policies.numbers.get(&number),
        Subject::Media { number: None } | Subject::Account(_) | Subject::Other => None,
    }
}

fn write_request(request: &Request<'_>, policies: &PolicySet, out: &mut impl Write) -> io::Result<()> {
    let operation = &request.operation;
    writeln!(
        out,
        "operation  {} (class {})",
        operation.name(),
        operation.class()
    )?;
    match (request.subject, number(request, policies)) {
        (_, Some(number)) => writeln!(out, "number     {} {}", number.phone_number_id, number.storage),
        (Subject::Number(number), None) => writeln!(out, "number     {number} (not in the policy)"),
        (Subject::Account(account), None) => writeln!(out, "account    {account}"),
        (Subject::Media { .. } | Subject::Other, None) => Ok(()),
    }
}

fn media_facts(args: &Explain, request: &Request<'_>) -> Vec<MediaFact> {
    // Long enough to be alive for whatever is asked of it.
    let ends = Clock::system().now().after(Duration::from_secs(3600));
    let fact = |media: MediaId| {
        let pinned = args.media.iter().find(|(pinned, _)| *pinned == media);
        pinned.map_or(MediaFact::Unknown, |(_, number)| {
            MediaFact::Pinned(Pin {
                number: *number,
                ends,
                origin: Origin::Upload,
            })
        })
    };
    match &request.operation {
        Operation::SendMessage(message) | Operation::SendMarketing(message) => {
            message.media_ids().map(fact).collect()
        }
        Operation::ReadMedia(media) | Operation::DeleteMedia(media) => vec![fact(*media)],
        _ => Vec::new(),
    }
}

fn settings_fact(args: &Explain, request: &Request<'_>, policies: &PolicySet) -> SettingsFact {
    match (args.settings, number(request, policies)) {
        (Settings::Unread, _) => SettingsFact::Unread,
        (Settings::Default, _) => SettingsFact::Read(ObservedStorage::Mode(StorageMode::Default)),
        (Settings::AsDeclared, Some(number)) => SettingsFact::Read(ObservedStorage::Mode(number.storage)),
        (Settings::AsDeclared, None) => SettingsFact::NotNeeded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_request_may_end_its_lines_either_way() {
        for text in [
            "POST /v23.0/1/messages HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"a\":\"\n\n\"}",
            "POST /v23.0/1/messages HTTP/1.1\nContent-Type: application/json\n\n{\"a\":\"\n\n\"}",
        ] {
            let recorded = Recorded::parse(text.as_bytes()).unwrap();
            assert_eq!(recorded.method, Method::POST);
            assert_eq!(recorded.target, "/v23.0/1/messages");
            assert_eq!(recorded.headers.len(), 1);
            assert_eq!(recorded.body, b"{\"a\":\"\n\n\"}");
        }
        assert!(Recorded::parse(b"nonsense").is_none());
    }

    #[test]
    fn a_recorded_form_gets_its_line_breaks_back_and_keeps_its_content() {
        let lf = b"--b\nA: 1\nB: 2\n\none\ntwo\n\n--bother\n--b\nA: 1\n\n\n--b--\n";
        let crlf = b"--b\r\nA: 1\r\nB: 2\r\n\r\none\ntwo\n\n--bother\r\n--b\r\nA: 1\r\n\r\n\r\n--b--\r\n";
        assert_eq!(
            with_crlf(lf, b"--b").escape_ascii().to_string(),
            crlf.escape_ascii().to_string()
        );
    }
}
