//! Decides what a storage policy allows.
//!
//! Pure values: no I/O, no async, no clock, no HTTP types. The gateway turns a call into a [`Request`], gathers
//! [`Facts`], and obeys the [`Decision`]; a [`Permit`], the only key to Meta, is made here and nowhere else.

mod decision;
mod facts;
mod file;
mod host;
mod id;
mod message;
mod operation;
mod owned;
mod policy;
mod reason;
mod reuse;
mod rules;
mod settings;
mod storage;
mod time;
mod ttl;
mod upload;

pub use decision::{Decision, Permit, UnverifiedUse, admit, decide, explain};
pub use facts::{Facts, MediaFact, Origin, Pin, SettingsFact};
pub use file::{Problem, parse};
pub use id::{IdError, MediaId, NodeId, PhoneNumberId, WabaId};
pub use message::{IdValue, MediaObject, Message, MessageKind, StrayLink};
pub use operation::{Operation, OperationClass, Question, Request, Subject, UnverifiedOperation, shown};
pub use policy::{
    AllowUnverified, Caller, CallerPolicy, Credential, Enforcement, Links, MediaPolicy, NumberPolicy,
    PairLimit, PolicySet, PortfolioPolicy, SendClass, SendClasses, SendsPolicy, UnknownIds, WhenLimited,
};
pub use reason::Reason;
pub use rules::{MOST_REGISTRATION_CALLS, Verdict};
pub use settings::{Generation, Registration, SettingsChange, StorageParameters};
pub use storage::{ObservedStorage, Region, StorageMode, UnknownRegion};
pub use time::{Minute, Timestamp};
pub use ttl::{RetentionMinutes, TtlBounds, TtlBoundsOutOfOrder, TtlMinutes, TtlOutOfRange};
pub use upload::{MediaType, Upload, essence};
