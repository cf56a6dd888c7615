use std::io::Write;

use cirrus_core::cache::Selection;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn tag(name: &str) -> Purge {
    Purge::hard(Selection::Tag(name.into()))
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("purges")
    }

    fn log(&self) -> FileLog {
        FileLog::open(self.file()).unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }
}

/// What comes, until that was everything.
async fn heard(updates: &mut Updates<LogUpdate>) -> Vec<LogUpdate> {
    let mut heard = Vec::new();
    loop {
        match updates.next().await.unwrap().unwrap() {
            LogUpdate::Current => return heard,
            update => heard.push(update),
        }
    }
}

fn purges(update: &LogUpdate) -> (&[Purge], u64) {
    match update {
        LogUpdate::Purges { purges, position } => (purges, position.number),
        other => panic!("{other:?}"),
    }
}

async fn resumed(log: &FileLog, after: &LogPosition) -> Vec<LogUpdate> {
    heard(&mut log.follow(Some(after.clone()))).await
}

#[tokio::test]
async fn purges_come_in_order_and_once() {
    let place = Place::new();
    let (log, other) = (place.log(), place.log());
    let mut updates = log.follow(None);
    assert!(matches!(&heard(&mut updates).await[..], [LogUpdate::Lost(at)] if at.number == 0));
    log.append(&[tag("a"), tag("b")]).await.unwrap();
    assert_eq!(
        purges(&heard(&mut updates).await[0]),
        (&[tag("a"), tag("b")][..], 2)
    );
    let soft = Purge::soft(Selection::of_url("https://shop.example/x").unwrap());
    // By somebody else, whom nobody here hears of before the next look.
    let position = other.append_blocking(std::slice::from_ref(&soft)).unwrap();
    assert_eq!(purges(&heard(&mut updates).await[0]), (&[soft][..], 3));
    assert_eq!(heard(&mut updates).await, []);
    assert_eq!(resumed(&log, &position).await, []);
}

#[tokio::test]
async fn whoever_was_away_gets_what_was_missed() {
    let place = Place::new();
    let log = place.log();
    let position = log.append_blocking(&[tag("a")]).unwrap();
    log.append_blocking(&[tag("b"), tag("c")]).unwrap();
    let missed = resumed(&log, &position).await;
    assert_eq!(purges(&missed[0]), (&[tag("b"), tag("c")][..], 3));
}

#[tokio::test]
async fn a_log_that_does_not_reach_back_is_told() {
    let place = Place::new();
    let log = place.log();
    let first = log.append_blocking(&[tag("a")]).unwrap();
    let last = log.append_blocking(&[tag("b"), tag("c")]).unwrap();
    let whole = place.text();
    let lost = async |log: &FileLog, after: &LogPosition| {
        matches!(&resumed(log, after).await[..], [LogUpdate::Lost(_)])
    };
    // Cut.
    let shorter: String = whole
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(place.file(), &shorter).unwrap();
    assert!(lost(&log, &last).await);
    assert!(!lost(&log, &first).await);
    // Cut, and grown again as far as it was: the numbers alone would not tell.
    log.append_blocking(&[tag("d"), tag("e"), tag("f")])
        .unwrap();
    assert!(lost(&log, &last).await && lost(&log, &first).await);
    // Emptied while somebody follows.
    let mut updates = log.follow(None);
    heard(&mut updates).await;
    std::fs::write(place.file(), "").unwrap();
    assert!(matches!(
        &heard(&mut updates).await[..],
        [LogUpdate::Lost(_)]
    ));
    log.append_blocking(&[tag("g")]).unwrap();
    assert_eq!(purges(&heard(&mut updates).await[0]), (&[tag("g")][..], 1));
    // Gone while somebody follows.
    std::fs::remove_file(place.file()).unwrap();
    assert!(matches!(
        &heard(&mut updates).await[..],
        [LogUpdate::Lost(_)]
    ));
}

#[tokio::test]
async fn what_cannot_be_read_may_have_been_anything() {
    let place = Place::new();
    let log = place.log();
    let first = log.append_blocking(&[tag("a")]).unwrap();
    let second = log.append_blocking(&[tag("b")]).unwrap();
    std::fs::write(
        place.file(),
        place.text().replace("\"tag\":\"b\"", "\"regex\":\"b\""),
    )
    .unwrap();
    assert!(matches!(&resumed(&log, &first).await[..], [LogUpdate::Lost(at)] if *at == second));
    let third = log.append_blocking(&[tag("c")]).unwrap();
    assert_eq!(third.number, 3);
}

#[tokio::test]
async fn half_a_line_is_nothing() {
    let place = Place::new();
    let log = place.log();
    let first = log.append_blocking(&[tag("a")]).unwrap();
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(place.file())
        .unwrap();
    file.write_all(b"{\"n\":2,\"purge\":{\"ta").unwrap();
    let mut updates = log.follow(Some(first));
    assert_eq!(heard(&mut updates).await, []);
    log.append_blocking(&[tag("b")]).unwrap();
    assert_eq!(purges(&heard(&mut updates).await[0]), (&[tag("b")][..], 2));
}

#[tokio::test]
async fn a_long_log_keeps_its_newer_half() {
    let place = Place::new();
    let log = place.log().at_most(4096);
    let first = log.append_blocking(&[tag("a")]).unwrap();
    let mut reader = Reader::new(&place.file(), Some(first.clone()));
    let (mut got, mut sent) = (Vec::new(), Vec::new());
    for number in 0..300 {
        let purge = tag(&number.to_string());
        log.append_blocking(std::slice::from_ref(&purge)).unwrap();
        sent.push(purge);
        if number % 7 == 0 || number == 299 {
            let updates = reader.look().unwrap();
            got.extend(purges(&updates[0]).0.to_vec());
        }
    }
    assert_eq!(got, sent);
    assert!(place.text().len() < 2 * 4096);
    assert!(matches!(&resumed(&log, &first).await[..], [LogUpdate::Lost(at)] if at.number == 301));
}

#[tokio::test]
async fn the_position_is_kept() {
    let place = Place::new();
    let kept = place.0.path().join("position");
    let log = place.log().keeping(&kept);
    assert_eq!(log.position().await.unwrap(), None);
    let position = log.append(&[tag("a")]).await.unwrap();
    log.applied(&position).await.unwrap();
    assert_eq!(log.position().await.unwrap(), Some(position));
    std::fs::write(&kept, "{").unwrap();
    assert_eq!(log.position().await.unwrap(), None);
}

#[test]
fn what_is_something_else_is_left_alone() {
    let place = Place::new();
    std::fs::write(place.file(), "dear diary\n").unwrap();
    let error = FileLog::open(place.file()).unwrap_err().to_string();
    assert!(
        error.contains("purges: the file is no purge log"),
        "{error}"
    );
    assert_eq!(place.text(), "dear diary\n");
}

#[test]
fn many_writers_take_turns() {
    let place = Place::new();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let log = place.log();
            scope.spawn(move || {
                for number in 0..25 {
                    log.append_blocking(&[tag(&format!("{writer}-{number}"))])
                        .unwrap();
                }
            });
        }
    });
    let position = place.log().append_blocking(&[]).unwrap();
    assert_eq!((position.number, place.text().lines().count()), (100, 101));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happened to the file: whoever has done `done` purges gets all the others that are in it, or hears that
    /// some are lost; and it can be appended to.
    #[test]
    fn nothing_is_passed_over_silently(
        damage in prop::collection::vec((0..400usize, any::<u8>()), 0..3), cut in 0..500usize, done in 0..6u64,
    ) {
        let place = Place::new();
        let log = place.log();
        let all: Vec<_> = (0..5).map(|n| tag(&n.to_string())).collect();
        let name = log.append_blocking(&all).unwrap().log;
        let mut text = std::fs::read(place.file()).unwrap();
        let (whole, len) = (text.clone(), text.len());
        text.truncate(cut.max(1));
        for (at, byte) in damage {
            if let Some(place) = text.get_mut(at) {
                *place = byte;
            }
        }
        std::fs::write(place.file(), &text).unwrap();
        let position = LogPosition::new(name, done.min(5));
        let mut reader = Reader::new(&place.file(), Some(position));
        let updates = reader.look().unwrap_or_default();
        let is_lost = updates.iter().any(|update| matches!(update, LogUpdate::Lost(_)));
        if text == whole && !is_lost {
            let given: usize = updates.iter().filter(|update| **update != LogUpdate::Current)
                .map(|update| purges(update).0.len()).sum();
            prop_assert_eq!(given as u64, 5 - done.min(5));
        }
        if cut < len && !is_lost && !updates.is_empty() {
            // It was cut behind what is done.
            let last = text.iter().filter(|byte| **byte == b'\n').count() as u64 - 1;
            prop_assert!(done.min(5) <= last, "{} of {}", done, last);
        }
        let _ = log.append_blocking(&[tag("next")]);
    }
}
