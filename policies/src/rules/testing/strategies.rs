//! Strategies for requests, facts and policies of every kind.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::{ALL_CLASSES, NOW, Scene, caller, id, in_country, number};
use crate::facts::{MediaFact, Origin, Pin, SettingsFact};
use crate::message::{IdValue, MediaObject, Message, MessageKind, StrayLink};
use crate::operation::{Operation, Question, Request, Subject, UnverifiedOperation};
use crate::policy::{AllowUnverified, Enforcement, NumberPolicy, PolicySet, UnknownIds};
use crate::settings::{Generation, Registration, SettingsChange, StorageParameters};
use crate::storage::{ObservedStorage, StorageMode};
use crate::time::Timestamp;
use crate::upload::{MediaType, Upload};

pub(crate) fn modes() -> impl Strategy<Value = StorageMode> {
    select(vec![
        StorageMode::Default,
        in_country("DE"),
        in_country("IN"),
        StorageMode::NoStorage,
    ])
}

pub(crate) fn restricted_modes() -> impl Strategy<Value = StorageMode> {
    select(vec![in_country("DE"), in_country("IN"), StorageMode::NoStorage])
}

pub(crate) fn generations() -> impl Strategy<Value = Generation> {
    select(vec![
        Generation::UpToV20,
        Generation::FromV21,
        Generation::Unversioned,
    ])
}

pub(crate) fn media_facts() -> impl Strategy<Value = MediaFact> {
    let pins = (
        1001u64..=1004,
        select(vec![
            NOW.millis() - 1,
            NOW.millis(),
            NOW.millis() + 1,
            NOW.millis() + 86_400_000,
        ]),
        select(vec![
            Origin::Upload,
            Origin::Inbound,
            Origin::Webhook,
            Origin::Deleted,
        ]),
    );
    prop_oneof![
        6 => pins.prop_map(|(number, ends, origin)| MediaFact::Pinned(Pin {
            number: id(number),
            ends: Timestamp::from_millis(ends),
            origin,
        })),
        1 => Just(MediaFact::Unknown),
        1 => Just(MediaFact::Denied),
    ]
}

fn objects() -> impl Strategy<Value = MediaObject<'static>> {
    let ids = prop_oneof![
        4 => (1u64..1_000_000).prop_map(|digits| IdValue::Canonical(id(digits))),
        1 => Just(IdValue::Other("012".into())),
    ];
    let links = select(vec![
        "https://cdn.bank.example/a.png",
        "https://evil.example/a.png",
        "http://cdn.bank.example/a.png",
    ]);
    (
        prop::bool::weighted(0.9),
        option::weighted(0.7, ids),
        option::weighted(0.3, links),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(documented, id, link, odd)| MediaObject {
            at: "image".to_owned(),
            documented,
            id,
            link: link.map(Into::into),
            unknown_members: if odd { vec!["thumbnail".into()] } else { Vec::new() },
        })
}

pub(crate) fn messages() -> impl Strategy<Value = Message<'static>> {
    let kinds = prop_oneof![
        6 => select(&MessageKind::KNOWN).prop_map(MessageKind::Known),
        1 => Just(MessageKind::Unknown("hologram".into())),
        1 => Just(MessageKind::ImpliedText),
        1 => Just(MessageKind::Missing),
    ];
    let strays = any::<bool>().prop_map(|documented| StrayLink {
        at: "interactive.action".to_owned(),
        documented,
        link: "https://cdn.bank.example/pay".into(),
    });
    (
        kinds,
        vec(objects(), 0..4),
        vec(strays, 0..2),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(kind, media, stray_links, odd)| Message {
            kind,
            media,
            stray_links,
            unknown_context: if odd { vec!["forwarded".into()] } else { Vec::new() },
        })
}

/// Texts such as a caller may write for a whole number, most of them not one.
pub(crate) fn number_texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0u64..50_000).prop_map(|minutes| minutes.to_string()),
        1 => any::<u64>().prop_map(|minutes| minutes.to_string()),
        1 => "[0-9]{1,24}",
        1 => "[-+ 0-9a-fx._eE]{0,8}",
        1 => any::<String>(),
    ]
}

pub(crate) fn uploads() -> impl Strategy<Value = Upload<'static>> {
    let types = || {
        prop_oneof![
            4 => select(&MediaType::ALL).prop_map(|media_type| media_type.mime.to_owned()),
            1 => select(vec!["IMAGE/PNG", "image/png; name=a.png", "image/tiff", "", "text/html", "image", "Document"])
                .prop_map(str::to_owned),
        ]
    };
    (
        any::<bool>(),
        option::of(number_texts()),
        option::of(types()),
        option::of(types()),
        option::weighted(0.1, Just("call_voicemail_announcement")),
        0u64..200 * 1024 * 1024,
    )
        .prop_map(|(complete, ttl, declared, part, use_case, file_bytes)| Upload {
            complete,
            ttl_minutes: ttl.map(Into::into),
            declared_type: declared.map(Into::into),
            file_type: part.map(Into::into),
            use_case: use_case.map(Into::into),
            file_bytes,
        })
}

/// A text in any mixture of upper and lower case.
pub(crate) fn any_case(text: &'static str) -> impl Strategy<Value = String> {
    vec(any::<bool>(), text.len()).prop_map(|upper| {
        text.chars()
            .zip(upper)
            .map(|(c, upper)| {
                if upper {
                    c.to_ascii_uppercase()
                } else {
                    c.to_ascii_lowercase()
                }
            })
            .collect()
    })
}

pub(crate) fn region_texts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("DE".to_owned()),
        Just("IN".to_owned()),
        any_case("de"),
        Just("US".to_owned())
    ]
}

pub(crate) fn retention_texts() -> impl Strategy<Value = String> {
    select(vec!["60", "60", "60.0", "060", " 60", "6e1", "0", "1440", ""]).prop_map(str::to_owned)
}

pub(crate) fn storage_parameters() -> impl Strategy<Value = StorageParameters<'static>> {
    let statuses = prop_oneof![
        any_case("IN_COUNTRY_STORAGE_ENABLED"),
        any_case("NO_STORAGE_ENABLED"),
        any_case("IN_COUNTRY_STORAGE_DISABLED"),
        any_case("NO_STORAGE_DISABLED"),
        any_case("DEFAULT"),
        Just("NO_STORAGE_ENABLED ".to_owned()),
    ];
    (
        option::weighted(0.9, statuses),
        option::of(region_texts()),
        option::of(retention_texts()),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(status, region, retention, odd)| StorageParameters {
            status: status.map(Into::into),
            region: region.map(Into::into),
            retention_minutes: retention.map(Into::into),
            unknown_members: if odd { vec!["enabled".into()] } else { Vec::new() },
        })
}

pub(crate) fn settings_changes() -> impl Strategy<Value = SettingsChange<'static>> {
    (
        option::weighted(0.9, storage_parameters()),
        0usize..3,
        prop::bool::weighted(0.1),
    )
        .prop_map(|(storage, features, odd)| SettingsChange {
            features: features.max(usize::from(storage.is_some())),
            storage,
            unknown_members: if odd {
                vec!["storage_config".into()]
            } else {
                Vec::new()
            },
        })
}

pub(crate) fn registrations() -> impl Strategy<Value = Registration<'static>> {
    (
        option::of(region_texts()),
        option::of(retention_texts()),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(region, retention, odd)| Registration {
            region: region.map(Into::into),
            retention_minutes: retention.map(Into::into),
            unknown_members: if odd { vec!["storage".into()] } else { Vec::new() },
        })
}

/// Settings calls that lead to `mode`, but for what chance has changed in them.
pub(crate) fn settings_near(mode: StorageMode) -> impl Strategy<Value = SettingsChange<'static>> {
    let keep = prop::bool::weighted(0.8);
    (
        settings_changes(),
        storage_parameters(),
        [keep, keep, keep, keep, keep],
    )
        .prop_map(
            move |(mut change, random, [keep, keep_status, keep_region, keep_retention, keep_members])| {
                if !keep {
                    return change;
                }
                let (status, region, retention) = match mode {
                    StorageMode::Default => ("DEFAULT", None, None),
                    StorageMode::InCountry(region) => {
                        ("IN_COUNTRY_STORAGE_ENABLED", Some(region.code()), None)
                    }
                    StorageMode::NoStorage => ("NO_STORAGE_ENABLED", None, Some("60")),
                };
                let right = |text: Option<&'static str>| text.map(Into::into);
                change.storage = Some(StorageParameters {
                    status: if keep_status {
                        right(Some(status))
                    } else {
                        random.status
                    },
                    region: if keep_region { right(region) } else { random.region },
                    retention_minutes: if keep_retention {
                        right(retention)
                    } else {
                        random.retention_minutes
                    },
                    unknown_members: if keep_members {
                        Vec::new()
                    } else {
                        vec!["enabled".into()]
                    },
                });
                change.features = change.features.max(1);
                change
            },
        )
}

/// Registrations that lead to `mode`, but for what chance has changed in them.
pub(crate) fn registrations_near(mode: StorageMode) -> impl Strategy<Value = Registration<'static>> {
    let keep = prop::bool::weighted(0.7);
    (registrations(), [keep, keep, keep]).prop_map(
        move |(random, [keep_region, keep_retention, keep_members])| {
            let (region, retention) = match mode {
                StorageMode::Default => (None, None),
                StorageMode::InCountry(region) => (Some(region.code()), None),
                StorageMode::NoStorage => (None, Some("60")),
            };
            Registration {
                region: if keep_region {
                    region.map(Into::into)
                } else {
                    random.region
                },
                retention_minutes: if keep_retention {
                    retention.map(Into::into)
                } else {
                    random.retention_minutes
                },
                unknown_members: if keep_members {
                    Vec::new()
                } else {
                    vec!["storage".into()]
                },
            }
        },
    )
}

pub(crate) fn operations() -> impl Strategy<Value = Operation<'static>> {
    prop_oneof![
        6 => messages().prop_map(Operation::SendMessage),
        2 => messages().prop_map(Operation::SendMarketing),
        1 => Just(Operation::MarkRead),
        4 => uploads().prop_map(Operation::UploadMedia),
        1 => Just(Operation::ReadMedia(id(77))),
        1 => Just(Operation::DownloadMedia(id(77))),
        1 => Just(Operation::DeleteMedia(id(77))),
        3 => settings_changes().prop_map(Operation::ChangeSettings),
        3 => registrations().prop_map(Operation::Register),
        1 => Just(Operation::Deregister),
        1 => Just(Operation::RequestCode),
        1 => Just(Operation::VerifyCode),
        1 => select(vec![Question::Settings, Question::Media(id(77))]).prop_map(Operation::Ask),
        3 => select(&UnverifiedOperation::ALL).prop_map(Operation::Unverified),
        1 => Just(Operation::RedirectWebhooks),
        1 => Just(Operation::Read("read_number")),
        1 => Just(Operation::Manage("templates")),
    ]
}

fn subjects() -> impl Strategy<Value = Subject> {
    prop_oneof![
        8 => (1001u64..=1004).prop_map(|digits| Subject::Number(id(digits))),
        2 => option::of(1001u64..=1004).prop_map(|number| Subject::Media { number: number.map(id) }),
        1 => (5001u64..=5002).prop_map(|digits| Subject::Account(id(digits))),
        1 => Just(Subject::Other),
    ]
}

pub(crate) fn numbers() -> impl Strategy<Value = NumberPolicy> {
    let unverified = (
        subsequence(UnverifiedOperation::ALL.to_vec(), 0..=8),
        prop::bool::weighted(0.3),
    );
    let unknown_ids = select(vec![UnknownIds::Verify, UnknownIds::Deny, UnknownIds::Allow]);
    (
        1001u64..=1003,
        modes(),
        any::<bool>(),
        any::<bool>(),
        unverified,
        unknown_ids,
    )
        .prop_map(
            |(digits, storage, in_account, deregister, unverified, unknown_ids)| {
                let (operations, hologram) = unverified;
                let mut number = number(digits, storage);
                number.waba_id = in_account.then(|| id(5001));
                number.allow_deregister = deregister;
                number.allow_unverified = AllowUnverified {
                    operations,
                    message_types: if hologram {
                        vec!["hologram".to_owned()]
                    } else {
                        Vec::new()
                    },
                };
                number.media.unknown_ids = match (unknown_ids, storage) {
                    (UnknownIds::Allow, storage) if storage.is_restricted() => UnknownIds::Deny,
                    (other, _) => other,
                };
                number
            },
        )
}

/// Any request by anyone, with any facts, under any policy that `policies.toml` could make of three numbers.
pub(crate) fn scenes() -> impl Strategy<Value = Scene> {
    let settings = prop_oneof![
        3 => Just(None),
        1 => modes().prop_map(|mode| Some(SettingsFact::Read(ObservedStorage::Mode(mode)))),
        1 => select(vec![
            ObservedStorage::InCountryElsewhere,
            ObservedStorage::NoStorageLonger,
            ObservedStorage::Unknown,
        ])
        .prop_map(|observed| Some(SettingsFact::Read(observed))),
        1 => select(vec![SettingsFact::Unread, SettingsFact::NotNeeded]).prop_map(Some),
    ];
    let callers = vec(
        (
            subsequence(vec![1001u64, 1002, 1003], 1..=3),
            subsequence(ALL_CLASSES.to_vec(), 1..=5),
        ),
        0..3,
    );
    (
        vec(numbers(), 1..5),
        callers,
        (subjects(), generations(), operations()),
        vec(media_facts(), 0..5),
        settings,
        prop_oneof![9 => Just(0u32), 1 => 8u32..12],
    )
        .prop_map(
            |(numbers, callers, request, media, settings, recent_registrations)| {
                let (subject, generation, operation) = request;
                let callers: Vec<_> = callers
                    .iter()
                    .enumerate()
                    .map(|(index, (numbers, may))| caller(&format!("service-{index}"), numbers, may))
                    .collect();
                let mut scene = Scene {
                    caller: (!callers.is_empty()).then_some(0),
                    by_gateway: false,
                    policies: PolicySet {
                        enforcement: Enforcement::Enforce,
                        numbers: numbers
                            .into_iter()
                            .map(|number| (number.phone_number_id, number))
                            .collect(),
                        callers,
                        portfolios: Vec::new(),
                    },
                    request: Request {
                        subject,
                        generation,
                        operation,
                    },
                    media,
                    settings: SettingsFact::NotNeeded,
                    recent_registrations,
                };
                let declared = scene
                    .named()
                    .map_or(StorageMode::Default, |number| number.storage);
                scene.settings = settings.unwrap_or(SettingsFact::Read(ObservedStorage::Mode(declared)));
                scene
            },
        )
}
