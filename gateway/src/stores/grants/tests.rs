use proptest::prelude::*;

use super::*;
use crate::clock::ManualTime;

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const LIFE: Duration = Duration::from_secs(300);
const MILLISECOND: Duration = Duration::from_millis(1);

fn media(id: u64) -> MediaId {
    id.to_string().parse().unwrap()
}

fn number(id: u64) -> PhoneNumberId {
    id.to_string().parse().unwrap()
}

fn signer() -> UrlSigner {
    UrlSigner::derived_from(b"EAAG-a-token-of-meta", Minute::REAL).unwrap()
}

fn grants(capacity: usize) -> (UrlGrants, ManualTime) {
    let (clock, time) = Clock::manual(START);
    let capacity = NonZeroUsize::new(capacity).unwrap();
    (UrlGrants::new(clock, Minute::REAL, capacity), time)
}

fn grant(media_id: u64) -> Grant {
    Grant {
        media: media(media_id),
        number: number(1),
        caller: signer().caller_tag(b"billing"),
        upstream_url: "https://media.example/whatsapp?mid=1".into(),
        content: MediaContent {
            content_type: http::HeaderValue::from_static("image/png"),
            size: Some(68),
            sha256: None,
        },
        token: Some("EAAG-of-a-caller".into()),
    }
}

fn claims() -> impl Strategy<Value = Claims> {
    (
        1u64..,
        1u64..,
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        1u64..=300_000,
    )
        .prop_map(|(media_id, number_id, caller, grant, millis)| Claims {
            media: media(media_id),
            number: number(number_id),
            caller: CallerTag(caller),
            grant: GrantId(grant),
            ends: START.after(Duration::from_millis(millis)),
        })
}

proptest! {
    #[test]
    fn a_token_says_what_was_signed(claims in claims()) {
        let token = signer().sign(&claims);
        prop_assert_eq!(token.len(), 119);
        prop_assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        prop_assert_eq!(signer().verify(&token, START), Ok(claims));
        let last = Timestamp::from_millis(claims.ends.millis() - 1);
        prop_assert_eq!(signer().verify(&token, last), Ok(claims));
        prop_assert_eq!(signer().verify(&token, claims.ends), Err(UrlError::Ended));
    }

    #[test]
    fn a_token_changed_in_any_byte_is_refused(claims in claims(), by in 1u8..=127) {
        let token = signer().sign(&claims);
        for index in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[index] = (changed[index] ^ by) & 0x7f;
            let changed = String::from_utf8(changed).unwrap();
            prop_assert_eq!(signer().verify(&changed, START), Err(UrlError::Forged), "at {}", index);
        }
    }

    #[test]
    fn a_token_cut_or_lengthened_is_refused(claims in claims(), cut in 0usize..119, more in "[A-Za-z0-9_=%.-]{1,8}") {
        let token = signer().sign(&claims);
        prop_assert_eq!(signer().verify(&token[..cut], START), Err(UrlError::Forged));
        let longer = format!("{token}{more}");
        prop_assert_eq!(signer().verify(&longer, START), Err(UrlError::Forged));
    }

    #[test]
    fn no_text_passes_for_a_token(text in "\\PC{0,160}|[A-Za-z0-9_-]{119}") {
        prop_assert_eq!(signer().verify(&text, START), Err(UrlError::Forged));
    }
}

fn some_claims(ends: Timestamp) -> Claims {
    Claims {
        media: media(1),
        number: number(2),
        caller: signer().caller_tag(b"billing"),
        grant: GrantId([7; 16]),
        ends,
    }
}

#[test]
fn instances_with_the_same_secret_take_each_others_urls_and_no_others() {
    let claims = some_claims(START.after(LIFE));
    let token = signer().sign(&claims);
    assert_eq!(signer().verify(&token, START), Ok(claims));
    let other = UrlSigner::derived_from(b"EAAG-another-token", Minute::REAL).unwrap();
    assert_eq!(other.verify(&token, START), Err(UrlError::Forged));
    let random = UrlSigner::random(Minute::REAL).unwrap();
    assert_eq!(random.verify(&token, START), Err(UrlError::Forged));
    let another = UrlSigner::random(Minute::REAL).unwrap();
    let token = random.sign(&claims);
    assert_eq!(another.verify(&token, START), Err(UrlError::Forged));
    assert_eq!(random.verify(&token, START), Ok(claims));
}

#[test]
fn a_wall_clock_set_back_lengthens_no_url() {
    let token = signer().sign(&some_claims(START.after(LIFE)));
    let hour_ago = Timestamp::from_millis(START.millis() - 3_600_000);
    assert_eq!(signer().verify(&token, hour_ago), Err(UrlError::Ended));
    let other_instance = Timestamp::from_millis(START.millis() - 60_000);
    assert!(signer().verify(&token, other_instance).is_ok());
}

#[test]
fn a_url_ends_with_its_medium() {
    let signer = signer();
    assert_eq!(signer.ends(START, START.after(2 * LIFE)), START.after(LIFE));
    let sooner = START.after(MILLISECOND);
    assert_eq!(signer.ends(START, sooner), sooner);
    let short = UrlSigner::random(Minute::lasting(Duration::from_secs(1)).unwrap()).unwrap();
    let end = START.after(Duration::from_secs(5));
    assert_eq!(short.ends(START, START.after(LIFE)), end);
}

#[test]
fn callers_have_tags_of_their_own_under_each_key() {
    let signer = signer();
    assert_eq!(signer.caller_tag(b"billing"), signer.caller_tag(b"billing"));
    assert_ne!(signer.caller_tag(b"billing"), signer.caller_tag(b"support"));
    let other = UrlSigner::random(Minute::REAL).unwrap();
    assert_ne!(signer.caller_tag(b"billing"), other.caller_tag(b"billing"));
}

#[test]
fn a_grant_lasts_five_minutes_on_either_clock() {
    let (grants, time) = grants(10);
    let id = grants.put(grant(1)).unwrap();
    time.set_wall(Timestamp::from_millis(START.millis() - 3_600_000));
    time.advance_monotonic(LIFE - MILLISECOND);
    assert_eq!(grants.find(id).map(|grant| grant.media), Some(media(1)));
    time.advance_monotonic(MILLISECOND);
    assert!(grants.find(id).is_none());
    assert_eq!(grants.len(), 1, "a read refuses without a sweep");
    grants.sweep();
    assert!(grants.is_empty());
}

#[test]
fn a_deleted_mediums_grants_are_gone() {
    let (grants, _) = grants(10);
    let ids = [1, 1, 2].map(|media_id| grants.put(grant(media_id)).unwrap());
    grants.forget_media(media(1));
    let found = ids.map(|id| grants.find(id).is_some());
    assert_eq!(found, [false, false, true]);
}

#[test]
fn a_full_table_lets_the_oldest_go() {
    let (grants, time) = grants(3);
    let mut ids = Vec::new();
    for media_id in 1..=5 {
        ids.push(grants.put(grant(media_id)).unwrap());
        time.advance(MILLISECOND);
        grants.forget_media(media(2));
    }
    let found: Vec<_> = ids.iter().map(|id| grants.find(*id).is_some()).collect();
    assert_eq!(found, [false, false, true, true, true]);
}

#[test]
fn nobodys_reads_push_out_everybody_elses_grants() {
    let (grants, _) = grants(4);
    let theirs = grants.put(grant(1)).unwrap();
    let of = |caller: &[u8], media_id| Grant {
        caller: signer().caller_tag(caller),
        ..grant(media_id)
    };
    let ids: Vec<_> = (2..20)
        .map(|id| grants.put(of(b"crawler", id)).unwrap())
        .collect();
    let held = ids.iter().filter(|id| grants.find(**id).is_some()).count();
    assert_eq!((grants.len(), held), (4, 3));
    assert!(grants.find(theirs).is_some());
    assert!(grants.find(ids[17]).is_some(), "the newest");
}

#[test]
fn a_grant_shows_neither_url_nor_token() {
    let shown = format!("{:?}", grant(1));
    assert!(
        !shown.contains("media.example") && !shown.contains("EAAG"),
        "{shown}"
    );
}
