use super::*;

/// Where media can be in a send, and whether Meta documents an `id`, and a `link`, at that place. `$` stands for the media object.
pub(super) const PLACES: &[(&str, &str, bool, bool)] = &[
    // The rows are those of the list of places in the Cloud API's send bodies. Row 1.
    (r#"{"type":"image","image":$}"#, "image", true, true),
    (r#"{"type":"audio","audio":$}"#, "audio", true, true),
    (r#"{"type":"video","video":$}"#, "video", true, true),
    (r#"{"type":"document","document":$}"#, "document", true, true),
    (r#"{"type":"sticker","sticker":$}"#, "sticker", true, true),
    (
        r#"{"type":"text","text":{"body":"x"},"image":$}"#,
        "image",
        true,
        true,
    ),
    (r#"{"type":"gif","gif":$}"#, "gif", false, false),
    // Rows 2 and 3.
    (
        r#"{"type":"interactive","interactive":{"type":"button","header":{"type":"image","image":$}}}"#,
        "interactive.header.image",
        true,
        true,
    ),
    (
        r#"{"type":"interactive","interactive":{"type":"cta_url","header":{"type":"video","video":$}}}"#,
        "interactive.header.video",
        true,
        true,
    ),
    (
        r#"{"type":"interactive","interactive":{"type":"flow","header":{"type":"document","document":$}}}"#,
        "interactive.header.document",
        true,
        true,
    ),
    (
        r#"{"type":"interactive","interactive":{"header":{"sticker":$}}}"#,
        "interactive.header.sticker",
        false,
        false,
    ),
    (
        r#"{"type":"interactive","interactive":{"footer":{"image":$}}}"#,
        "interactive.footer.image",
        false,
        false,
    ),
    // Row 4.
    (
        r#"{"interactive":{"type":"carousel","action":{"cards":[{},{"header":{"image":$}}]}}}"#,
        "interactive.action.cards[1].header.image",
        false,
        true,
    ),
    (
        r#"{"interactive":{"type":"carousel","action":{"cards":[{"header":{"video":$}}]}}}"#,
        "interactive.action.cards[0].header.video",
        false,
        true,
    ),
    (
        r#"{"interactive":{"type":"carousel","action":{"cards":{"header":{"video":$}}}}}"#,
        "interactive.action.cards.header.video",
        false,
        false,
    ),
    (
        r#"{"interactive":{"type":"carousel","action":{"cards":[{"header":{"document":$}}]}}}"#,
        "interactive.action.cards[0].header.document",
        false,
        false,
    ),
    // Row 5.
    (
        r#"{"interactive":{"action":{"parameters":{"order":{"items":[{"image":$}]}}}}}"#,
        "interactive.action.parameters.order.items[0].image",
        false,
        true,
    ),
    // Row 6.
    (
        r#"{"template":{"components":[{"type":"header","parameters":[{"type":"image","image":$}]}]}}"#,
        "template.components[0].parameters[0].image",
        true,
        true,
    ),
    (
        r#"{"template":{"components":[{"parameters":[{"video":$}],"type":"HEADER"}]}}"#,
        "template.components[0].parameters[0].video",
        true,
        true,
    ),
    (
        r#"{"template":{"components":[{},{"type":"header","parameters":[{},{"document":$}]}]}}"#,
        "template.components[1].parameters[1].document",
        true,
        true,
    ),
    (
        r#"{"template":{"components":[{"type":"header","parameters":[{"gif":$}]}]}}"#,
        "template.components[0].parameters[0].gif",
        true,
        true,
    ),
    (
        r#"{"template":{"components":[{"type":"header","parameters":[{"audio":$}]}]}}"#,
        "template.components[0].parameters[0].audio",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"type":"body","parameters":[{"image":$}]}]}}"#,
        "template.components[0].parameters[0].image",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"parameters":[{"image":$}]}]}}"#,
        "template.components[0].parameters[0].image",
        false,
        false,
    ),
    (
        r#"{"template":{"components":{"type":"header","parameters":[{"image":$}]}}}"#,
        "template.components.parameters[0].image",
        false,
        false,
    ),
    // Row 7.
    (
        r#"{"template":{"components":[{"type":"carousel","cards":[{"components":[{"type":"header","parameters":[{"image":$}]}]}]}]}}"#,
        "template.components[0].cards[0].components[0].parameters[0].image",
        true,
        true,
    ),
    (
        r#"{"template":{"components":[{"cards":[{"components":[{"parameters":[{"video":$}],"type":"header"}]}],"type":"Carousel"}]}}"#,
        "template.components[0].cards[0].components[0].parameters[0].video",
        true,
        true,
    ),
    (
        r#"{"template":{"components":[{"type":"carousel","cards":[{"components":[{"type":"header","parameters":[{"document":$}]}]}]}]}}"#,
        "template.components[0].cards[0].components[0].parameters[0].document",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"type":"carousel","cards":[{"components":[{"type":"body","parameters":[{"image":$}]}]}]}]}}"#,
        "template.components[0].cards[0].components[0].parameters[0].image",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"type":"header","cards":[{"components":[{"type":"header","parameters":[{"image":$}]}]}]}]}}"#,
        "template.components[0].cards[0].components[0].parameters[0].image",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"type":"carousel","parameters":[{"image":$}]}]}}"#,
        "template.components[0].parameters[0].image",
        false,
        false,
    ),
    // Row 8.
    (
        r#"{"template":{"components":[{"type":"button","sub_type":"order_details","parameters":[{"action":{"order_details":{"order":{"items":[{"image":$}]}}}}]}]}}"#,
        "template.components[0].parameters[0].action.order_details.order.items[0].image",
        false,
        true,
    ),
    (
        r#"{"template":{"components":[{"type":"button","sub_type":"flow","parameters":[{"action":{"order_details":{"order":{"items":[{"image":$}]}}}}]}]}}"#,
        "template.components[0].parameters[0].action.order_details.order.items[0].image",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"type":"header","parameters":[{"action":{"order_details":{"order":{"items":[{"image":$}]}}}}]}]}}"#,
        "template.components[0].parameters[0].action.order_details.order.items[0].image",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"type":"body","sub_type":"order_details","parameters":[{"action":{"order_details":{"order":{"items":[{"image":$}]}}}}]}]}}"#,
        "template.components[0].parameters[0].action.order_details.order.items[0].image",
        false,
        false,
    ),
    // Row 9.
    (
        r#"{"template":{"components":[{"type":"limited_time_offer","parameters":[{"image":$}]}]}}"#,
        "template.components[0].parameters[0].image",
        false,
        false,
    ),
    // Row 10.
    (
        r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"data":{"any":[{"audio":$}]}}}}}}"#,
        "interactive.action.parameters.flow_action_payload.data.any[0].audio",
        true,
        true,
    ),
    (
        r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"data":{"Image":$}}}}}}"#,
        "interactive.action.parameters.flow_action_payload.data.Image",
        false,
        false,
    ),
    (
        r#"{"interactive":{"action":{"parameters":{"flow_action_payload":{"screen":{"image":$}}}}}}"#,
        "interactive.action.parameters.flow_action_payload.screen.image",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"type":"button","sub_type":"FLOW","parameters":[{"action":{"flow_action_data":{"x":{"gif":$}}}}]}]}}"#,
        "template.components[0].parameters[0].action.flow_action_data.x.gif",
        true,
        true,
    ),
    (
        r#"{"template":{"components":[{"type":"button","sub_type":"url","parameters":[{"action":{"flow_action_data":{"x":{"gif":$}}}}]}]}}"#,
        "template.components[0].parameters[0].action.flow_action_data.x.gif",
        false,
        false,
    ),
    (
        r#"{"template":{"components":[{"sub_type":"flow","parameters":[{"action":{"flow_action_data":{"x":{"gif":$}}}}]}]}}"#,
        "template.components[0].parameters[0].action.flow_action_data.x.gif",
        false,
        false,
    ),
    // Elsewhere, in other letter case, and in arrays where Meta shows an object.
    (
        r#"{"contacts":[{"name":{"image":$}}]}"#,
        "contacts[0].name.image",
        false,
        false,
    ),
    (r#"{"image":[$]}"#, "image[0]", false, false),
    (r#"{"image":[[$]]}"#, "image[0][0]", false, false),
    (r#"{"Image":$}"#, "Image", false, false),
    (
        r#"{"type":"interactive","interactive":{"HEADER2":1,"Header_":{"image":$}}}"#,
        "interactive.Header_.image",
        false,
        false,
    ),
    (r#"{"text":{"body":"x","image":$}}"#, "text.image", false, false),
    (r#"{"context":{"image":$}}"#, "context.image", false, false),
    (r#"{"poll":{"image":$}}"#, "poll.image", false, false),
];

#[test]
fn media_are_found_at_every_place_and_known_where_documented() {
    for (body, at, id_documented, link_documented) in PLACES {
        let by_id = body.replace('$', r#"{"id":"2871834006348767","caption":"x"}"#);
        let expected = MediaObject {
            at: (*at).to_owned(),
            documented: *id_documented,
            id: medium(2_871_834_006_348_767),
            link: None,
            unknown_members: vec![],
        };
        assert_eq!(only(&by_id), expected, "{by_id}");

        let by_link = body.replace(
            '$',
            r#"{"link":"https://cdn.bank.example/a.png","provider":{"name":"cdn"}}"#,
        );
        let expected = MediaObject {
            at: (*at).to_owned(),
            documented: *link_documented,
            id: None,
            link: Some(Cow::Borrowed("https://cdn.bank.example/a.png")),
            unknown_members: vec![],
        };
        assert_eq!(only(&by_link), expected, "{by_link}");
        assert_eq!(message(&by_link).stray_links, [], "{by_link}");
    }
}

#[test]
fn an_object_given_as_json_text_is_the_same_object() {
    for (body, at, id_documented, _) in PLACES {
        let object = r#"{"id":"123"}"#;
        for held in [
            stringified(object),
            stringified(&stringified(object)),
            stringified(&format!(" \n{object}\t")),
            object
                .bytes()
                .map(|byte| format!("\\u{byte:04x}"))
                .fold("\"".to_owned(), |text, next| text + &next)
                + "\"",
        ] {
            let body = body.replace('$', &held);
            let found = only(&body);
            assert_eq!(
                (found.at.as_str(), found.documented, found.id),
                (*at, *id_documented, medium(123)),
                "{body}"
            );
        }
    }
    let parameters = stringified(r#"{"order":{"items":[{"image":{"link":"https://a.example/"}}]}}"#);
    let body =
        format!(r#"{{"type":"interactive","interactive":{{"action":{{"parameters":{parameters}}}}}}}"#);
    let found = only(&body);
    assert_eq!(found.at, "interactive.action.parameters.order.items[0].image");
    assert!(found.documented);
}
