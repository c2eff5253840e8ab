//! Sends and uploads that the policy forbids, by every door but the right one, and by the right one in disguise.

use http::Method;
use serde_json::json;

use crate::common::form::{Form, PNG};
use crate::common::{Client, DEFAULT, NO_STORAGE, TOKEN, World, caller_table};
use crate::{Attack, encoded, form_of, try_all};

/// From where the policy lets no media come.
const LINK: &str = r#"{"link":"https://elsewhere.example/a.png"}"#;

/// A message that the policy forbids, as parameters.
const MESSAGE: &[(&str, &str)] = &[
    ("messaging_product", "whatsapp"),
    ("to", "+15550100001"),
    ("type", "image"),
    ("image", LINK),
];

/// The same as a body.
fn message() -> String {
    format!(r#"{{"messaging_product":"whatsapp","to":"+15550100001","type":"image","image":{LINK}}}"#)
}

/// With `more` at the front.
fn message_with(more: &str) -> String {
    message().replacen('{', &format!("{{{more},"), 1)
}

fn and<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    MESSAGE.iter().chain(more).copied().collect()
}

/// A batch of one send.
fn batch() -> String {
    json!([{ "method": "POST", "relative_url": "1001/messages", "body": encoded(MESSAGE) }]).to_string()
}

const MESSAGES: &str = "/v23.0/1001/messages";

#[tokio::test]
async fn a_batch_is_no_way_round() {
    let mut attacks = Vec::new();
    let batch = batch();
    for target in [
        "/",
        "/v23.0",
        "/me",
        "/v23.0/1001",
        MESSAGES,
        "/v23.0/1003/messages",
        "/v23.0/1003/media",
        "/v23.0/1003/settings",
        "/v23.0/1003/register",
        "/v23.0/1003/calls",
        "/v23.0/1003/request_code",
        "/v23.0/5001/message_templates",
        "/v23.0/5001/subscribed_apps",
        "/v23.0/MEDIA",
        "/v23.0/77/unpause",
    ] {
        attacks.push(Attack::json(target, format!(r#"{{"batch":{batch}}}"#)));
        attacks.push(Attack::json(target, json!({ "batch": batch }).to_string()));
        attacks.push(Attack::json(
            target,
            format!(r#"{{"b\u0061tch":{batch},"messaging_product":"whatsapp"}}"#),
        ));
        attacks.push(Attack::urlencoded(target, &[("batch", &batch)]));
        attacks.push(Attack::query(target, &[("batch", &batch)]));
        attacks.push(Attack::form(target, &form_of(&[("batch", &batch)])));
        attacks.push(Attack::form(target, &Form::image().field("batch", &batch)));
        attacks.push(Attack::form(
            target,
            &Form::new().field("batch", &batch).file("image/png", PNG),
        ));
        attacks.push(Attack::json(target, format!(r#"{{"Batch":{batch}}}"#)).unheard_of());
        attacks.push(Attack::json(target, format!(r#"{{"batch[]":{batch}}}"#)).unheard_of());
    }
    // In the query of a GET it takes an override as well.
    attacks.push(Attack::new(
        Method::GET,
        &format!("/?{}", encoded(&[("batch", &batch), ("method", "post")])),
    ));
    let nested = json!([{ "method": "POST", "relative_url": "1003/messages", "name": "first", "body": "x" },
        { "method": "POST", "relative_url": "{result=first:$.none}1001/messages", "body": encoded(MESSAGE) }]);
    attacks.push(Attack::json("/v23.0", json!({ "batch": nested }).to_string()));
    try_all(attacks, |_| {}).await;
}

#[tokio::test]
async fn an_overridden_method_is_no_way_round() {
    let get = |target: &str, more: &[(&str, &str)]| {
        Attack::new(Method::GET, &format!("{target}?{}", encoded(&and(more))))
    };
    let header = |attack: Attack, value: &str| attack.header("x-http-method-override", value);
    try_all(
        vec![
            get(MESSAGES, &[("method", "post")]),
            get(MESSAGES, &[("method", "POST")]),
            get(MESSAGES, &[("_method", "post")]),
            header(get(MESSAGES, &[]), "POST"),
            header(
                Attack::new(Method::DELETE, &format!("{MESSAGES}?{}", encoded(MESSAGE))),
                "POST",
            ),
            Attack::query("/v23.0/MEDIA", &[("method", "delete")]),
            Attack::query("/v23.0/MEDIA", &[("_method", "DELETE")]),
            Attack::urlencoded("/v23.0/MEDIA", &[("method", "delete")]),
            Attack::form("/v23.0/MEDIA", &form_of(&[("method", "delete")])),
            Attack::json("/v23.0/MEDIA", r#"{"method":"delete"}"#),
            Attack::json("/v23.0/MEDIA", r#"{"_method":"delete"}"#),
            header(Attack::new(Method::POST, "/v23.0/MEDIA"), "DELETE"),
            Attack::new(Method::GET, "/v23.0/MEDIA?method=delete"),
            Attack::new(Method::GET, "/v23.0/MEDIA?phone_number_id=1001&method=delete"),
            Attack::new(Method::GET, "/v23.0/MEDIA?m%65thod=delete"),
            Attack::new(Method::GET, "/v23.0/MEDIA?METHOD=delete").unheard_of(),
        ],
        |_| {},
    )
    .await;
}

/// On calls that the gateway lets through, a header that overrides stays behind.
#[tokio::test]
async fn an_overriding_header_does_not_get_through() {
    let world = World::pass_through().await;
    let client = world.client();
    let media = client.upload(NO_STORAGE).await;
    for value in ["DELETE", "delete", "POST"] {
        for name in ["x-http-method-override", "x-http-method", "x-method-override"] {
            let target = format!("/v23.0/{media}");
            let reply = client
                .send(Method::GET, &target, &[(name, value)], Default::default())
                .await;
            assert_eq!(
                (reply.status.as_u16(), reply.reason()),
                (200, None),
                "{}",
                reply.text()
            );
        }
    }
    assert!(world.emulator.media_bytes(media).is_some());
}

#[tokio::test]
async fn a_node_in_a_parameter_is_no_way_round() {
    let message = message();
    try_all(
        vec![
            Attack::json("/messages?ids=1001", &message),
            Attack::json("/v23.0/messages?ids=1001,1002", &message),
            Attack::json("/v23.0/messages", message_with(r#""ids":"1001""#)),
            Attack::query("/messages", &and(&[("ids", "1001")])),
            Attack::urlencoded("/messages", &and(&[("ids", "1001")])),
            Attack::json("/v23.0/1003/messages?ids=1001", &message).unheard_of(),
            Attack::json("/?id=1001/messages", &message),
            Attack::json("/v23.0?id=1001%2Fmessages", &message),
            Attack::json("/", message_with(r#""id":"1001/messages""#)),
            Attack::urlencoded("/", &and(&[("id", "1001/messages")])),
            Attack::new(Method::DELETE, "/?ids=MEDIA"),
            Attack::new(Method::DELETE, "/?id=MEDIA"),
            Attack::form(
                "/v23.0/media?ids=1001",
                &Form::image().field("ttl_minutes", "43200"),
            ),
        ],
        |_| {},
    )
    .await;
}

#[tokio::test]
async fn another_encoding_is_no_way_round() {
    let message = message();
    let bracketed: Vec<_> = MESSAGE[..3]
        .iter()
        .copied()
        .chain([("image[link]", "https://elsewhere.example/a.png")])
        .collect();
    let lone = |name: &'static str, value: &'static str| Attack::json(MESSAGES, &message).header(name, value);
    try_all(
        vec![
            Attack::urlencoded(MESSAGES, MESSAGE),
            Attack::urlencoded(MESSAGES, &bracketed),
            Attack::form(MESSAGES, &form_of(MESSAGE)),
            Attack::form(MESSAGES, &form_of(&bracketed)),
            Attack::query(MESSAGES, MESSAGE),
            Attack::query(MESSAGES, &bracketed),
            Attack::json(
                &format!("{MESSAGES}?{}", encoded(&MESSAGE[3..])),
                r#"{"messaging_product":"whatsapp","to":"+15550100001","type":"image"}"#,
            ),
            Attack::json(&format!("{MESSAGES}?to=%2B15550100002"), &message),
            Attack::post(MESSAGES, "text/plain", message.clone()),
            Attack::post(MESSAGES, "application/vnd.api+json", message.clone()),
            Attack::post(
                MESSAGES,
                "application/x-www-form-urlencoded; charset=utf-8",
                encoded(MESSAGE),
            ),
            Attack {
                headers: Vec::new(),
                ..Attack::json(MESSAGES, &message)
            },
            Attack::json(MESSAGES, format!("\u{feff}{message}")),
            lone("content-type", "application/x-www-form-urlencoded"),
        ],
        |_| {},
    )
    .await;
}

#[tokio::test]
async fn a_body_in_disguise_is_no_way_round() {
    let allowed = r#"{"caption":"x"}"#;
    let doubled = |second: &str| {
        message_with(&format!(r#""image":{allowed}"#))
            .replace(r#","image":{"link"#, &format!(r#",{second}:{{"link"#))
    };
    let as_text = |key: &str| {
        json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "image", key: LINK })
            .to_string()
    };
    let order = json!({ "order": { "items": [{ "image": { "link": "https://elsewhere.example/a.png" } }] } });
    let interactive = |parameters: &serde_json::Value| {
        json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "interactive",
            "interactive": { "type": "order_details", "action": { "name": "review_and_pay", "parameters": parameters } } })
    };
    let deep = json!({ "messaging_product": "whatsapp", "to": "+15550100001", "type": "interactive",
        "interactive": json!({ "type": "button", "action": {}, "header": { "image": { "link": "https://elsewhere.example/a.png" } } }).to_string() });
    try_all(
        vec![
            Attack::json(MESSAGES, doubled(r#""image""#)),
            Attack::json(MESSAGES, doubled(r#""im\u0061ge""#)),
            Attack::json(MESSAGES, message_with(r#""type":"text","text":{"body":"x"}"#)),
            Attack::json(
                MESSAGES,
                message().replace(r#""link""#, r#""link":"https://cdn.bank.example/","l\u0069nk""#),
            ),
            Attack::json(MESSAGES, as_text("image")),
            Attack::json(MESSAGES, interactive(&order).to_string()),
            Attack::json(MESSAGES, interactive(&json!(order.to_string())).to_string()),
            Attack::json(MESSAGES, deep.to_string()),
            Attack::json(
                MESSAGES,
                message_with(r#""status":"read","message_id":"wamid.x""#),
            ),
            Attack::json(MESSAGES, message().replace(r#""type":"image","#, "")),
            Attack::json(MESSAGES, message().replace("https://", "HTTPS://")),
            Attack::json(
                MESSAGES,
                message().replace("https://elsewhere", "https:\\/\\/elsewhere"),
            ),
            Attack::json(MESSAGES, message().replace(r#""image":"#, r#""Image":"#)).unheard_of(),
            Attack::json(MESSAGES, message().replace(r#""image":"#, r#""IMAGE":"#)).unheard_of(),
            Attack::json(
                MESSAGES,
                message().replace(
                    &format!(r#""image":{LINK}"#),
                    r#""image[link]":"https://elsewhere.example/""#,
                ),
            )
            .unheard_of(),
            Attack::json(MESSAGES, format!("{} {}", r#"{"status":"read"}"#, message())).unheard_of(),
            Attack::json(MESSAGES, format!("[{}]", message())).unheard_of(),
        ],
        |_| {},
    )
    .await;
}

/// What a looser reader than ours might take for a medium of the number, which this one does not have.
#[tokio::test]
async fn loose_json_is_no_way_round() {
    let body = |kind: &str, rest: &str| {
        Attack::json(
            MESSAGES,
            format!(r#"{{"messaging_product":"whatsapp","to":"+15550100001","type":"{kind}",{rest}}}"#),
        )
        .unheard_of()
    };
    let mut attacks: Vec<_> = [
        r#""image":"999""#,
        r#""image":999"#,
        r#""image":["999"]"#,
        r#""image":"{'id':'999'}""#,
        r#""image":"{\"id\":\"999\",}""#,
        "\"image\":\"\u{feff}{\\\"id\\\":\\\"999\\\"}\"",
        r#""image":"id=999""#,
        r#""image ":{"id":"999"}"#,
        r#""im\u0000age":{"id":"999"}"#,
        r#""image.id":"999""#,
        r#""[image]":{"id":"999"}"#,
    ]
    .map(|medium| body("image", medium))
    .into();
    for template in [
        r#"{"name":"x","components":[{"type":"header","parameters":[{"type":"image","image":"999"}]}]}"#,
        r#"{"name":"x","components":"[{\"type\":\"header\",\"parameters\":[{\"image\":{\"id\":\"999\"}}]}"}"#,
        r#"{"name":"x","components ":[]}"#,
        r#""{'name':'x'}""#,
    ] {
        attacks.push(body("template", &format!(r#""template":{template}"#)));
    }
    attacks.push(Attack {
        works: true,
        ..body(
            "interactive",
            r#""interactive":{"type":"button","header":{"type":"image","image":"999"},"action":{}}"#,
        )
    });
    attacks.push(
        Attack::json(
            "/v23.0/1001/marketing_messages",
            r#"{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}"#,
        )
        .unheard_of(),
    );
    try_all(attacks, |_| {}).await;
}

#[tokio::test]
async fn another_path_is_no_way_round() {
    let mut attacks: Vec<_> = [
        "/1001/messages",
        "/1001/messages/",
        "/v23.0/1001/messages/",
        "/v1.0/1001/messages",
        "/v99.9/1001/messages",
        "/V23.0/1001/messages",
        "/v23/1001/messages",
        "/v023.0/1001/messages",
        "/v23.00/1001/messages",
        "/v23.0/1001/MESSAGES",
        "/v23.0/1001/Messages",
        "/v23.0/1001%2Fmessages",
        "/v23.0/1001/mess%61ges",
        "/v23.0/%31001/messages",
        "/v23.0//1001/messages",
        "//v23.0/1001/messages",
        "/v23.0/1001//messages",
        "/v23.0/./1001/messages",
        "/v23.0/5/../1001/messages",
        "/v23.0/1003/../1001/messages",
        "/v23.0/%2e%2e/1001/messages",
        "/v23.0/1001;x/messages",
        "/v23.0/1001/messages;x=y",
        "/v23.0/01001/messages",
        "/v23.0/+1001/messages",
    ]
    .map(|target| Attack::json(target, message()))
    .into();
    attacks.extend(
        [
            "/v23.0/v23.0/1001/messages",
            "/v23.0/1001/messages/1001",
            "/v23.0/1003/1001/messages",
        ]
        .map(|target| Attack::json(target, message()).unheard_of()),
    );
    for host in [
        "graph.facebook.com",
        "api.facebook.com",
        "elsewhere.example:443",
        "127.0.0.1",
    ] {
        attacks.push(Attack::json(MESSAGES, message()).header("host", host));
    }
    for name in [
        "x-forwarded-host",
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-prefix",
    ] {
        attacks.push(Attack::json(MESSAGES, message()).header(name, "/v23.0/1003/messages"));
    }
    try_all(attacks, |_| {}).await;
}

#[tokio::test]
async fn a_token_or_an_answers_shape_in_a_parameter_is_refused() {
    let text = r#"{"messaging_product":"whatsapp","to":"+15550100001","type":"text","text":{"body":"x"}}"#;
    let with = |parameter: &str| Attack::json(&format!("{MESSAGES}?{parameter}"), text);
    let inside = |member: &str| Attack::json(MESSAGES, text.replacen('{', &format!("{{{member},"), 1));
    let mut attacks = vec![inside(&format!(r#""access_token":"{TOKEN}""#))];
    for parameter in [
        format!("access_token={TOKEN}"),
        format!("acc%65ss_token={TOKEN}"),
        "suppress_http_code=1".to_owned(),
        "callback=leak".to_owned(),
        "include_headers=false".to_owned(),
        "fields=id,messages".to_owned(),
        "format=json".to_owned(),
        "transport=cors".to_owned(),
        "debug=all".to_owned(),
        "pretty=1".to_owned(),
        "sdk=php".to_owned(),
        "locale=de_DE".to_owned(),
        "x=".to_owned(),
    ] {
        attacks.push(with(&parameter));
    }
    for member in [
        r#""suppress_http_code":1"#,
        r#""callback":"leak""#,
        r#""fields":"id""#,
        r#""include_headers":false"#,
    ] {
        attacks.push(inside(member));
    }
    try_all(attacks, |_| {}).await;
}

#[tokio::test]
async fn an_upload_in_disguise_is_no_way_round() {
    const MEDIA: &str = "/v23.0/1001/media";
    let file = || Form::image();
    let file_named = |disposition: &str| {
        let headers = format!("Content-Disposition: form-data; {disposition}\r\nContent-Type: image/png");
        Form::new()
            .field("messaging_product", "whatsapp")
            .field("ttl_minutes", "43200")
            .raw(&headers, PNG)
    };
    try_all(
        vec![
            Attack::form(MEDIA, &file().field("ttl_minutes", "43200")),
            Attack::form(&format!("{MEDIA}?ttl_minutes=43200"), &file()),
            Attack::form(&format!("{MEDIA}?ttl%5Fminutes=43200"), &file()),
            Attack::form(
                MEDIA,
                &file().field("ttl_minutes", "60").field("ttl_minutes", "43200"),
            ),
            Attack::form(
                &format!("{MEDIA}?ttl_minutes=43200"),
                &file().field("ttl_minutes", "60"),
            ),
            Attack::form(
                MEDIA,
                &file().raw("Content-Disposition: form-data; name=ttl_minutes", b"43200"),
            ),
            Attack::form(
                MEDIA,
                &file().raw("content-disposition: FORM-DATA; NAME=\"ttl_minutes\"", b"43200"),
            ),
            Attack::form(
                MEDIA,
                &file().raw(
                    "Content-Disposition: form-data; name=\"ttl_minutes\"\r\nContent-Type: application/json",
                    b"43200",
                ),
            ),
            Attack::form(MEDIA, &file_named("name=\"file\"; filename=\"a.png\"")),
            Attack::form("/1001/media", &file().field("ttl_minutes", "43200")),
            Attack::form("/v23.0/1001/media/", &file().field("ttl_minutes", "43200")),
            Attack::form("/v23.0/1001/Media", &file().field("ttl_minutes", "43200")),
            Attack::form("/v23.0/1003/../1001/media", &file().field("ttl_minutes", "43200")),
            Attack::form(&format!("{MEDIA}?fields=url"), &file()),
            Attack::form(MEDIA, &file().field("fields", "url")),
            Attack::form(MEDIA, &file().field("access_token", TOKEN)),
        ],
        |_| {},
    )
    .await;
}

/// With callers declared it is the gateway's token that Meta sees. A caller of a default number alone, who may do much, must
/// not get at another's number by bytes that nobody judges.
#[tokio::test]
async fn unjudged_bytes_are_no_way_to_another_callers_number() {
    let caller = caller_table(
        "plain",
        "plain-key",
        &[DEFAULT],
        &["send", "media", "read", "storage", "manage"],
    );
    let world = World::of(&format!("{}{caller}", crate::PASS_THROUGH)).await;
    let client = world.caller("plain-key");
    let form = form_of(&[("batch", &batch())]);
    let session = "/v23.0/upload:MTphdHRh";
    let attacks = [
        Attack::form(session, &form),
        Attack::form("/upload%3AMTphdHRh", &form),
        Attack::urlencoded(session, &[("batch", &batch())]),
        Attack::json(session, format!(r#"{{"batch":{}}}"#, batch())),
    ];
    // The door is there: the form opens it.
    let direct = Client::new(world.emulator.addr()).bearer(TOKEN);
    attacks[0].run(&direct).await;
    assert_eq!(world.emulator.sent().len(), 1);
    world.emulator.clear_record();
    for attack in attacks {
        let reply = attack.run(&client).await;
        assert!(
            world.emulator.sent().is_empty(),
            "{}: {}",
            attack.name(),
            reply.text()
        );
    }
    let types: Vec<_> = world
        .emulator
        .received()
        .iter()
        .map(|r| r.header("content-type").map(str::to_owned))
        .collect();
    assert_eq!(types, vec![Some("application/octet-stream".to_owned()); 4]);
}

/// What is taken as a form is read: no part of it can make another call of it.
#[tokio::test]
async fn the_forms_of_flows_and_groups_are_no_way_to_another_callers_number() {
    let all = ["send", "media", "read", "storage", "manage"];
    let caller = caller_table("plain", "plain-key", &[DEFAULT], &all);
    let world = World::of(&format!("{}{caller}", crate::PASS_THROUGH)).await;
    let client = world.caller("plain-key");
    let direct = Client::new(world.emulator.addr()).bearer(TOKEN);
    let with_file = || form_of(&[("batch", &batch())]).file("application/json", b"{}");
    let group = "/v23.0/Y2FwaV9ncm91cDoxNzA1NTU1MDEzOToxMjAzNjM0MDQ2OTQyMzM4MjAZD";
    for target in ["/v23.0/77/assets", "/77/assets", group] {
        for form in [
            with_file(),
            form_of(&[("batch", &batch())]),
            Form::new()
                .file("application/json", b"{}")
                .field("batch", &batch()),
        ] {
            let attack = Attack::form(target, &form);
            attack.run(&direct).await;
            assert_eq!(
                world.emulator.sent().len(),
                1,
                "the door is there: {}",
                attack.name()
            );
            world.emulator.clear_record();
            let reply = attack.run(&client).await;
            reply.assert_refused(400, 100, "form_field_unknown");
            assert!(world.emulator.sent().is_empty(), "{}", attack.name());
            assert!(
                world
                    .emulator
                    .received()
                    .iter()
                    .all(|received| !received.complete)
            );
            world.emulator.clear_record();
        }
    }
}
