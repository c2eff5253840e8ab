use std::time::Duration;

use curfew_policies::Origin;
use proptest::prelude::*;

use super::*;
use crate::clock::{ManualTime, Moment};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn uploads(capacity: usize) -> (KnownUploads, Clock, ManualTime) {
    let (clock, time) = Clock::manual(START);
    let capacity = NonZeroUsize::new(capacity).unwrap();
    (KnownUploads::new(clock.clone(), capacity).unwrap(), clock, time)
}

fn media(id: u64) -> MediaId {
    id.to_string().parse().unwrap()
}

fn number(id: u64) -> PhoneNumberId {
    id.to_string().parse().unwrap()
}

fn pin(owner: u64, ends: Timestamp) -> Pin {
    Pin {
        number: number(owner),
        ends,
        origin: Origin::Upload,
    }
}

fn tag(uploads: &KnownUploads, name: u8) -> UploadTag {
    uploads.tag(&[Some(&[name])])
}

fn remember(uploads: &KnownUploads, name: u8, id: u64, life: Duration) {
    let pin = pin(1, START.after(life));
    uploads.remember([tag(uploads, name)], media(id), pin, Arc::default());
}

fn found(uploads: &KnownUploads, name: u8) -> Option<u64> {
    let known = uploads.find(tag(uploads, name));
    known.map(|known| known.media.get())
}

#[test]
fn no_two_lists_of_parts_have_one_tag() {
    let (uploads, ..) = uploads(1);
    let lists: [&[Option<&[u8]>]; 9] = [
        &[],
        &[None],
        &[Some(b"")],
        &[None, None],
        &[Some(b"ab")],
        &[Some(b"a"), Some(b"b")],
        &[Some(b"ab"), None],
        &[None, Some(b"ab")],
        &[Some(b"ab"), Some(b"")],
    ];
    for (index, list) in lists.iter().enumerate() {
        for (other, another) in lists.iter().enumerate() {
            assert_eq!(uploads.tag(list) == uploads.tag(another), index == other);
        }
    }
}

#[test]
fn a_tag_means_nothing_to_another_process() {
    let ((here, ..), (there, ..)) = (uploads(1), uploads(1));
    assert_ne!(tag(&here, 1), tag(&there, 1));
    assert_eq!(format!("{:?}", tag(&here, 1)), "UploadTag(…)");
}

#[test]
fn when_it_is_full_the_medium_that_ends_first_is_forgotten() {
    let (uploads, _, time) = uploads(3);
    for (name, life) in [(1, 30), (2, 20), (3, 40)] {
        remember(&uploads, name, u64::from(name), SECOND * life);
    }
    // One that is known takes no more room.
    remember(&uploads, 2, 22, SECOND * 25);
    assert_eq!(found(&uploads, 2), Some(22));
    remember(&uploads, 4, 4, SECOND * 10);
    assert_eq!(
        [1, 2, 3, 4].map(|name| found(&uploads, name)),
        [Some(1), None, Some(3), Some(4)]
    );
    // What has ended makes room before anything that lives.
    time.advance(SECOND * 10);
    remember(&uploads, 5, 5, SECOND * 15);
    assert_eq!(
        [1, 3, 4, 5].map(|name| found(&uploads, name)),
        [Some(1), Some(3), None, Some(5)]
    );
}

#[test]
fn a_wall_clock_that_is_set_back_lengthens_no_life() {
    let (uploads, _, time) = uploads(1);
    remember(&uploads, 1, 1, SECOND * 100);
    time.advance_monotonic(SECOND * 60);
    let known = uploads.find(tag(&uploads, 1)).unwrap();
    assert_eq!(known.ends, START.after(SECOND * 40));
    time.advance_monotonic(SECOND * 40);
    assert_eq!(found(&uploads, 1), None);
    assert_eq!(uploads.len(), 1);
    uploads.sweep();
    assert!(uploads.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    SetWall(u64),
    Remember {
        name: u8,
        media: u64,
        number: u64,
        life: u64,
    },
    ForgetMedia(u64),
    ForgetNumber(u64),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let remember = (0u8..5, 1u64..8, 1u64..4, 0u64..200);
    let step = prop_oneof![
        3 => (1u64..60).prop_map(Step::Advance),
        1 => (0u64..400).prop_map(Step::SetWall),
        6 => remember.prop_map(|(name, media, number, life)| Step::Remember { name, media, number, life }),
        2 => (1u64..8).prop_map(Step::ForgetMedia),
        1 => (1u64..4).prop_map(Step::ForgetNumber),
        1 => Just(Step::Sweep),
    ];
    proptest::collection::vec(step, 1..80)
}

/// What the store should hold under a tag.
#[derive(Clone, Copy)]
struct Expected {
    media: u64,
    number: u64,
    wall: Timestamp,
    monotonic: Moment,
}

proptest! {
    #[test]
    fn it_knows_what_a_plain_table_would(steps in steps()) {
        // Room for every tag: what is pushed out has a test of its own.
        let (uploads, clock, time) = uploads(5);
        let mut model: HashMap<u8, Expected> = HashMap::new();
        for step in steps {
            match step {
                Step::Advance(seconds) => time.advance(SECOND * u32::try_from(seconds).unwrap()),
                Step::SetWall(seconds) => {
                    time.set_wall(Timestamp::from_millis(START.millis() - 200_000 + seconds * 1_000));
                }
                Step::Remember { name, media: id, number, life } => {
                    let life = SECOND * u32::try_from(life).unwrap();
                    let pin = pin(number, clock.now().after(life));
                    uploads.remember([tag(&uploads, name)], media(id), pin, Arc::default());
                    let new = Expected {
                        media: id,
                        number,
                        wall: pin.ends,
                        monotonic: clock.monotonic().after(life),
                    };
                    let lives = |known: &Expected| known.wall > clock.now() && known.monotonic > clock.monotonic();
                    let held = model.get(&name).filter(|held| lives(held));
                    if lives(&new) && held.is_none_or(|held| held.wall <= new.wall) {
                        model.insert(name, new);
                    }
                }
                Step::ForgetMedia(id) => {
                    uploads.forget_media(media(id));
                    model.retain(|_, known| known.media != id);
                }
                Step::ForgetNumber(id) => {
                    uploads.forget_number(number(id));
                    model.retain(|_, known| known.number != id);
                }
                Step::Sweep => {
                    uploads.sweep();
                    model.retain(|_, known| known.wall > clock.now() && known.monotonic > clock.monotonic());
                }
            }
            let now = (clock.now(), clock.monotonic());
            for name in 0..5 {
                let expected = model.get(&name).filter(|known| known.wall > now.0 && known.monotonic > now.1);
                let found = uploads.find(tag(&uploads, name));
                prop_assert_eq!(
                    found.as_ref().map(|known| (known.media, known.ends)),
                    expected.map(|known| {
                        let left = known.monotonic.since(now.1);
                        (media(known.media), known.wall.min(now.0.after(left)))
                    })
                );
                if let Some(found) = found {
                    prop_assert!(found.ends > now.0);
                }
            }
            prop_assert!(uploads.len() <= 5);
        }
    }
}
