//! Sends and what hangs on them: limits, media, ids, statuses.

use serde_json::{Value, json};

use super::media;
use super::send::{self, Meaning, Outgoing, Recipient};
use super::{Answer, Call, Done, GraphError, success};
use crate::control::Shared;
use crate::limits::Rate;
use crate::options::State;
use crate::params::{self, Params};
use crate::record::SentMessage;
use crate::webhook;
use crate::world::World;

/// Over how many pairs the table is swept of those that are quiet.
const PAIRS_SWEEP: usize = 100_000;

/// `POST /{PNID}/messages`.
pub(crate) fn messages(shared: &Shared, call: &mut Call, number: u64) -> Answer {
    match send::read(&mut call.params)? {
        Meaning::Receipt => {
            let mut world = shared.world();
            registered(&world, number)?;
            throughput(shared, &mut world, number)?;
            success()
        }
        Meaning::Message(outgoing) => accept(shared, call, number, "messages", &outgoing),
    }
}

/// `POST /{PNID}/marketing_messages`: marketing templates only.
pub(crate) fn marketing(shared: &Shared, call: &mut Call, number: u64) -> Answer {
    let Meaning::Message(outgoing) = send::read(&mut call.params)? else {
        return Err(GraphError::invalid("Message type must be a template"));
    };
    if outgoing.kind != "template" {
        return Err(GraphError::invalid("Message type must be a template"));
    }
    {
        let world = shared.world();
        let category = template(&world, number, &call.params).map(|found| found.text("category").to_owned());
        if category.is_some_and(|category| !category.eq_ignore_ascii_case("MARKETING")) {
            return Err(GraphError::new(
                134_100,
                "The template's category is not MARKETING",
            ));
        }
    }
    accept(shared, call, number, "marketing_messages", &outgoing)
}

/// `POST /{PNID}/messages_encrypted`: what is inside cannot be seen, here no more than by a proxy.
pub(crate) fn encrypted(shared: &Shared, call: &mut Call, number: u64) -> Answer {
    if params::text(&call.params, "encrypted_contents").is_none_or(|text| text.is_empty()) {
        return Err(GraphError::required("encrypted_contents"));
    }
    let mut world = shared.world();
    registered(&world, number)?;
    throughput(shared, &mut world, number)?;
    let wamid = shared.ids.wamid("");
    record(
        shared,
        &mut world,
        call,
        number,
        "messages_encrypted",
        &wamid,
        String::new(),
        Vec::new(),
    );
    let contents = shared.ids.opaque(160);
    Ok(Done::Json(
        json!({"messaging_product": "whatsapp", "encrypted_contents": contents}),
    ))
}

/// `POST /{PNID}/calls`.
pub(crate) fn calls(shared: &Shared, call: &mut Call, number: u64) -> Answer {
    params::unfold(&mut call.params);
    let action = params::text(&call.params, "action").ok_or_else(|| GraphError::required("action"))?;
    let mut world = shared.world();
    registered(&world, number)?;
    match action.as_str() {
        "connect" => {
            let user = params::text(&call.params, "to").or_else(|| params::text(&call.params, "recipient"));
            let user = user.ok_or_else(|| GraphError::required("to"))?;
            let id = format!("wacid.{}", shared.ids.opaque(48));
            record(shared, &mut world, call, number, "calls", &id, user, Vec::new());
            Ok(Done::Json(
                json!({"messaging_product": "whatsapp", "calls": [{"id": id}]}),
            ))
        }
        "pre_accept" | "accept" | "reject" | "terminate" => {
            params::text(&call.params, "call_id").ok_or_else(|| GraphError::required("call_id"))?;
            success()
        }
        _ => Err(GraphError::invalid("Unknown action")),
    }
}

fn accept(shared: &Shared, call: &mut Call, number: u64, edge: &'static str, outgoing: &Outgoing) -> Answer {
    let now_ms = shared.clock.now_ms();
    let mut world = shared.world();
    let sender = registered(&world, number)?;
    let (input, recipient) = match &outgoing.recipient {
        Recipient::Phone(text) => {
            let canonical = send::canonical(text, &send::country(&sender.display));
            let canonical = canonical.ok_or_else(|| GraphError::new(131_009, "to is not a phone number"))?;
            if canonical == sender.digits() {
                return Err(GraphError::new(131_021, "The recipient is the sending number"));
            }
            (text.clone(), canonical)
        }
        Recipient::User(user) => (user.clone(), user.clone()),
        Recipient::Group(group) => (group.clone(), group.clone()),
    };
    if shared.options.require_templates
        && outgoing.kind == "template"
        && template(&world, number, &call.params).is_none()
    {
        return Err(GraphError::new(
            132_001,
            "No template of that name and language in this account",
        ));
    }
    let is_group = matches!(outgoing.recipient, Recipient::Group(_));
    if shared.options.enforce_window
        && !is_group
        && outgoing.kind != "template"
        && world
            .windows
            .get(&(number, recipient.clone()))
            .is_none_or(|&until| until <= now_ms)
    {
        return Err(GraphError::new(
            131_047,
            "More than 24 hours have passed since the customer last replied",
        ));
    }
    let (ids, unusable) = resolve(&mut world, number, outgoing, now_ms);
    if let (Some(error), false) = (&unusable, shared.options.late_media_errors) {
        return Err(error.clone());
    }
    if !is_group {
        pair(shared, &mut world, number, &recipient)?;
    }
    throughput(shared, &mut world, number)?;
    let wamid = shared.ids.wamid(&recipient);
    let opaque = params::text(&call.params, "biz_opaque_callback_data");
    let callback = world.callback_of(number);
    record(
        shared,
        &mut world,
        call,
        number,
        edge,
        &wamid,
        recipient.clone(),
        ids,
    );
    drop(world);
    if callback.is_some() {
        let message = webhook::Message {
            number,
            wamid: wamid.clone(),
            recipient: outgoing.recipient.clone(),
            canonical: recipient.clone(),
            opaque,
        };
        let statuses: &[&str] = match (&unusable, outgoing.kind.as_str()) {
            (Some(_), _) => &["failed"],
            (None, "pin") => &["sent"],
            (None, _) => &["sent", "delivered", "read"],
        };
        webhook::statuses(shared, &message, statuses, 131_053);
    }
    let mut contact = json!({"input": input});
    let mut message = json!({"id": wamid});
    let field = match outgoing.recipient {
        Recipient::Phone(_) => "wa_id",
        Recipient::User(_) => "user_id",
        Recipient::Group(_) => "group_id",
    };
    let target = if is_group { &mut message } else { &mut contact };
    if let Value::Object(object) = target {
        object.insert(field.to_owned(), json!(recipient));
    }
    if let ("template", Value::Object(object)) = (outgoing.kind.as_str(), &mut message) {
        object.insert("message_status".to_owned(), json!("accepted"));
    }
    Ok(Done::Json(
        json!({"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]}),
    ))
}

fn registered(world: &World, number: u64) -> Result<&crate::world::Number, GraphError> {
    let found = world
        .numbers
        .get(&number)
        .ok_or_else(|| GraphError::no_object("post", &number.to_string()))?;
    if found.state == State::Registered {
        Ok(found)
    } else {
        Err(GraphError::new(
            133_010,
            "Register the phone number before sending",
        ))
    }
}

fn template<'a>(world: &'a World, number: u64, params: &Params) -> Option<&'a crate::world::Template> {
    let wanted = params.get("template")?;
    let name = wanted.get("name")?.as_str()?;
    let language = wanted.get("language")?;
    let language = language.get("code").unwrap_or(language).as_str()?;
    let waba = world.numbers.get(&number)?.waba;
    world.templates.values().find(|template| {
        template.waba == waba && template.text("name") == name && template.text("language") == language
    })
}

/// The media that may be used, and the first reason why one may not: unknown, ended and foreign all look the same.
fn resolve(
    world: &mut World,
    number: u64,
    outgoing: &Outgoing,
    now_ms: u64,
) -> (Vec<u64>, Option<GraphError>) {
    let mut unusable = outgoing
        .bad_ids
        .first()
        .map(|id| GraphError::no_object("get", id));
    let mut ids = Vec::with_capacity(outgoing.media.len());
    if outgoing.media.is_empty() {
        return (ids, unusable);
    }
    let media = world.live_media(now_ms);
    for &(id, used_as) in &outgoing.media {
        let visible = media
            .get(&id)
            .filter(|medium| !medium.info.private || medium.info.owner == number);
        let problem = match visible {
            None => Some(GraphError::no_object("get", &id.to_string())),
            Some(medium) if medium.info.use_case.is_some() => {
                Some(GraphError::new(131_053, "Media of this use case cannot be sent"))
            }
            Some(medium) if used_as.is_some() && used_as != media::kind(&medium.info.mime) => {
                Some(GraphError::new(
                    131_053,
                    format!("Media of type {} cannot be used so", medium.info.mime),
                ))
            }
            Some(_) => None,
        };
        match problem {
            Some(problem) => unusable = unusable.or(Some(problem)),
            None => ids.push(id),
        }
    }
    (ids, unusable)
}

/// In and out together, receipts too: whether those count is undocumented, and here they do.
pub(crate) fn throughput(shared: &Shared, world: &mut World, number: u64) -> Result<(), GraphError> {
    if !shared.options.enforce_limits {
        return Ok(());
    }
    let Some(sender) = world.numbers.get_mut(&number) else {
        return Ok(());
    };
    if Rate::per_second(sender.throughput).take(&mut sender.next_ns, shared.clock.limit_ns()) {
        Ok(())
    } else {
        let details = format!(
            "Cloud API message throughput of {} a second has been reached",
            sender.throughput
        );
        Err(GraphError::new(130_429, details))
    }
}

fn pair(shared: &Shared, world: &mut World, number: u64, recipient: &str) -> Result<(), GraphError> {
    if !shared.options.enforce_limits {
        return Ok(());
    }
    let now_ns = shared.clock.limit_ns();
    // A message that throughput refuses must not spend the pair's room.
    if let Some(sender) = world.numbers.get(&number)
        && !Rate::per_second(sender.throughput).has_room(sender.next_ns, now_ns)
    {
        return Ok(());
    }
    if world.pairs.len() > PAIRS_SWEEP {
        world.pairs.retain(|_, &mut next_ns| next_ns > now_ns);
    }
    let next_ns = world.pairs.entry((number, recipient.to_owned())).or_default();
    if Rate::PAIR.take(next_ns, now_ns) {
        Ok(())
    } else {
        Err(GraphError::new(
            131_056,
            "Too many messages to the same user in a short time",
        ))
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "one line of the record, spelled out where it is made"
)]
fn record(
    shared: &Shared,
    world: &mut World,
    call: &mut Call,
    number: u64,
    edge: &'static str,
    id: &str,
    recipient: String,
    media: Vec<u64>,
) {
    if shared.options.record == 0 {
        return;
    }
    world.sent.push(SentMessage {
        phone_number_id: number,
        edge,
        recipient,
        wamid: id.to_owned(),
        body: Value::Object(std::mem::take(&mut call.params)),
        via: call.via,
        media,
        at: shared.clock.now(),
    });
    shared.record.changed.notify_waiters();
}
