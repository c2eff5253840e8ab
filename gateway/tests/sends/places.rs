//! Every place at which Meta documents media in a send (Cloud API, "Messages", "Interactive messages", "Templates", "Payments"),
//! as it stands and inside strings that hold JSON.

use serde_json::{Value, json};

use crate::common::form::{Form, PNG};
use crate::common::{Client, DEFAULT, IN_COUNTRY, NO_STORAGE, World};
use crate::{HOST, message, send, world};

/// A place: its name, whether an `id` is documented there, and a message with `medium` at it.
struct Place {
    name: &'static str,
    takes_id: bool,
    content: fn(Value) -> Value,
}

fn place(name: &'static str, content: fn(Value) -> Value) -> Place {
    Place {
        name,
        takes_id: true,
        content,
    }
}

fn link_only(name: &'static str, content: fn(Value) -> Value) -> Place {
    Place {
        takes_id: false,
        ..place(name, content)
    }
}

fn template(components: Value) -> Value {
    json!({ "type": "template", "template": { "name": "a", "language": { "code": "en" }, "components": components } })
}

fn button_header(key: &str, medium: Value) -> Value {
    let mut header = json!({ "type": key });
    header[key] = medium;
    json!({ "type": "interactive", "interactive": { "type": "button", "header": header, "action": {} } })
}

fn header_parameter(key: &str, medium: Value) -> Value {
    let mut parameter = json!({ "type": key });
    parameter[key] = medium;
    template(json!([{ "type": "body", "parameters": [] }, { "type": "header", "parameters": [parameter] }]))
}

fn card_parameter(key: &str, medium: Value) -> Value {
    let mut parameter = json!({ "type": key });
    parameter[key] = medium;
    let card = json!({ "card_index": 0, "components": [{ "type": "header", "parameters": [parameter] }] });
    template(json!([{ "type": "carousel", "cards": [card] }]))
}

fn order(medium: Value) -> Value {
    json!({ "items": [{ "retailer_id": "a", "image": medium }] })
}

fn places() -> Vec<Place> {
    vec![
        place("image", |medium| json!({ "type": "image", "image": medium })),
        place(
            "document",
            |medium| json!({ "type": "document", "document": medium }),
        ),
        place("interactive header image", |medium| {
            button_header("image", medium)
        }),
        place("interactive header document", |medium| {
            button_header("document", medium)
        }),
        place("template header image", |medium| {
            header_parameter("image", medium)
        }),
        place("template header document", |medium| {
            header_parameter("document", medium)
        }),
        place("template carousel card image", |medium| {
            card_parameter("image", medium)
        }),
        link_only("interactive carousel card image", |medium| {
            let card =
                json!({ "card_index": 0, "type": "cta_url", "header": { "type": "image", "image": medium } });
            json!({ "type": "interactive", "interactive": { "type": "carousel", "action": { "cards": [card] } } })
        }),
        link_only("order details item image", |medium| {
            json!({ "type": "interactive", "interactive": { "type": "order_details",
                "action": { "name": "review_and_pay", "parameters": { "order": order(medium) } } } })
        }),
        link_only("template order details item image", |medium| {
            let action = json!({ "order_details": { "order": order(medium) } });
            template(
                json!([{ "type": "button", "sub_type": "order_details", "index": 0,
                "parameters": [{ "type": "action", "action": action }] }]),
            )
        }),
    ]
}

/// The same message with more and more of it as text that holds JSON.
fn spellings(content: &Value) -> Vec<Value> {
    let mut spellings = vec![content.clone()];
    let kind = content["type"].as_str().unwrap();
    let mut whole = content.clone();
    whole[kind] = json!(content[kind].to_string());
    spellings.push(whole);
    if content.pointer("/interactive/action/parameters").is_some() {
        let mut parameters = content.clone();
        parameters["interactive"]["action"]["parameters"] =
            json!(content["interactive"]["action"]["parameters"].to_string());
        spellings.push(parameters);
    }
    spellings
}

/// Where Meta takes media by id, an own one is sent, and nobody else's.
#[tokio::test]
async fn an_id_is_found_wherever_it_stands() {
    let world = world().await;
    let client = world.client();
    for number in [NO_STORAGE, IN_COUNTRY] {
        let own = client.upload(number).await;
        let theirs = client
            .upload(if number == NO_STORAGE {
                IN_COUNTRY
            } else {
                NO_STORAGE
            })
            .await;
        let document = Form::new()
            .field("messaging_product", "whatsapp")
            .file("application/pdf", b"%PDF-1.7");
        let document = client
            .post_form(&format!("/v23.0/{number}/media"), &document)
            .await
            .media_id();
        for Place {
            name,
            takes_id,
            content,
        } in places()
        {
            let own = if name.contains("document") { document } else { own };
            for spelling in 0..spellings(&content(json!({}))).len() {
                let body = |medium: Value| message(&spellings(&content(medium))[spelling]).to_string();
                let what = format!("{name}, spelling {spelling}");
                for id in [json!(own.to_string()), json!(own)] {
                    world.emulator.clear_record();
                    let reply = send(&client, number, &body(json!({ "id": id }))).await;
                    if takes_id {
                        assert_eq!(
                            (reply.status.as_u16(), reply.reason()),
                            (200, None),
                            "{what}: {}",
                            reply.text()
                        );
                        assert_eq!(world.emulator.sent()[0].media, [own], "{what}");
                    } else {
                        reply.assert_refused(403, 131_005, "undocumented_reference");
                    }
                }
                world.emulator.clear_record();
                for id in [json!(theirs.to_string()), json!(theirs)] {
                    let reply = send(&client, number, &body(json!({ "id": id }))).await;
                    reply.assert_refused(400, 100, "media_of_other_number");
                }
                for id in [
                    json!("123"),
                    json!(123),
                    json!(format!(" {own}")),
                    json!(format!("0{own}")),
                    json!(format!("+{own}")),
                    json!(format!("{own}.0")),
                    json!(format!("{own}\n")),
                    json!([own]),
                    json!({ "id": own }),
                    json!(""),
                    json!(true),
                    json!(1.5),
                    json!(-1),
                ] {
                    let reply = send(&client, number, &body(json!({ "id": id }))).await;
                    assert_eq!(
                        reply.reason(),
                        Some("media_not_usable"),
                        "{what}, {id}: {}",
                        reply.text()
                    );
                }
                let reply = send(
                    &client,
                    number,
                    &body(json!({ "link": "https://elsewhere.example/" })),
                )
                .await;
                reply.assert_refused(403, 131_005, "link_not_allowed");
                let reply = send(
                    &client,
                    number,
                    &body(json!({ "id": own.to_string(), "link": format!("https://{HOST}/") })),
                )
                .await;
                reply.assert_refused(400, 100, "id_and_link");
                assert!(world.emulator.sent().is_empty(), "{what}");

                let reply = send(
                    &client,
                    number,
                    &body(json!({ "link": format!("https://{HOST}/a") })),
                )
                .await;
                assert_eq!(
                    (reply.status.as_u16(), reply.reason()),
                    (200, None),
                    "{what}: {}",
                    reply.text()
                );
            }
        }
    }
}

/// Another of two is as good as the only one.
#[tokio::test]
async fn one_foreign_medium_among_many_stops_the_message() {
    let world = world().await;
    let client = world.client();
    let own = json!({ "id": client.upload(NO_STORAGE).await.to_string() });
    let theirs = json!({ "id": client.upload(DEFAULT).await.to_string() });
    let card = |medium: &Value| json!({ "components": [{ "type": "header", "parameters": [{ "type": "image", "image": medium }] }] });
    let cards = |media: &[&Value]| {
        let cards: Vec<_> = media.iter().map(|medium| card(medium)).collect();
        message(&template(json!([{ "type": "carousel", "cards": cards }]))).to_string()
    };
    for media in [
        [&theirs, &own, &own],
        [&own, &theirs, &own],
        [&own, &own, &theirs],
    ] {
        let reply = send(&client, NO_STORAGE, &cards(&media)).await;
        reply.assert_refused(400, 100, "media_of_other_number");
    }
    let reply = send(&client, NO_STORAGE, &cards(&[&own, &own, &own])).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Media in what is a Flow's own data is found as well; what only looks like media elsewhere is none.
#[tokio::test]
async fn ids_of_rows_and_buttons_are_no_media_and_a_flows_data_may_name_some() {
    let world = world().await;
    let client = world.client();
    let theirs = client.upload(DEFAULT).await;
    let flow = |data: Value| {
        message(
            &json!({ "type": "interactive", "interactive": { "type": "flow", "action": { "name": "flow",
            "parameters": { "flow_action_payload": { "screen": "A", "data": data } } } } }),
        )
        .to_string()
    };
    for data in [
        json!({ "id": theirs }),
        json!({ "customer": { "id": theirs.to_string() }, "pictures": ["a"] }),
    ] {
        assert_eq!(send(&client, NO_STORAGE, &flow(data)).await.status, 200);
    }
    let reply = send(&client, NO_STORAGE, &flow(json!({ "image": { "id": theirs } }))).await;
    reply.assert_refused(400, 100, "media_of_other_number");
    let reply = send(
        &client,
        NO_STORAGE,
        &flow(json!({ "image": { "link": "https://elsewhere.example/" } })),
    )
    .await;
    reply.assert_refused(403, 131_005, "link_not_allowed");
    let text = message(
        &json!({ "type": "text", "text": { "body": format!("{{\"image\":{{\"id\":\"{theirs}\"}}}}") } }),
    );
    let reply = send(&client, NO_STORAGE, &text.to_string()).await;
    assert!(
        reply.reason().is_some(),
        "a text that holds JSON is walked like any string: {}",
        reply.text()
    );
}

/// Among default numbers, where Meta shares media, pins inform and do not refuse.
#[tokio::test]
async fn default_numbers_share_media_as_they_do_at_meta() {
    let policies = "[[number]]\nphone_number_id = \"2001\"\nstorage = { mode = \"default\" }\n\
                    [[number]]\nphone_number_id = \"2002\"\nstorage = { mode = \"default\" }\n\
                    [[number]]\nphone_number_id = \"2003\"\nstorage = { mode = \"no_storage\" }\n\
                    [[number]]\nphone_number_id = \"2004\"\nstorage = { mode = \"default\" }\n\
                    [number.media]\nunknown_ids = \"allow\"\n";
    let world = World::of(policies).await;
    let client = world.client();
    let send_image = async |client: &Client, number: u64, media: u64| client.send_image(number, media).await;
    let shared = client.upload(2001).await;
    assert_eq!(send_image(&client, 2002, shared).await.status, 200);
    send_image(&client, 2003, shared)
        .await
        .assert_refused(400, 100, "media_of_other_number");
    let restricted = client.upload(2003).await;
    for number in [2001, 2002, 2004] {
        send_image(&client, number, restricted)
            .await
            .assert_refused(400, 100, "media_of_other_number");
    }
    // Where the policy allows unknown ids, Meta is the one who knows; where it has them verified, Meta is asked.
    let unseen = world.emulator.receive_media(2004, "image/png", PNG.into());
    assert_eq!(send_image(&client, 2004, unseen).await.status, 200);
    assert!(
        world.reached().iter().all(|call| !call.starts_with("GET")),
        "{:?}",
        world.reached()
    );
    let unseen = world.emulator.receive_media(2001, "image/png", PNG.into());
    send_image(&client, 2002, unseen)
        .await
        .assert_refused(400, 100, "media_not_usable");
    assert_eq!(send_image(&client, 2001, unseen).await.status, 200);
}
