//! Records of how long copies stood, where no object tells it any more: a copy that was restored
//! did not stand for a while, and one that was pruned is gone
//! ([`known_at`](crate::domain::known_at)).
//!
//! Each is a small JSON file below `_stays/`, with its checksum, which is written before the copy
//! moves or goes. So a process that is killed at any instant leaves a record of what was not
//! carried out, which can be told from the copies. A record that is damaged is refused, not passed
//! over: without it, an answer could be wrong.

use chrono::{DateTime, Utc};

use super::LakeRoot;
use super::hints::{publish_checked, read_hint};
use super::location::Location;
use super::partitions::find_if_there;
use super::paths;
use crate::domain::known_at::{StayEvent, StayRecord};
use crate::error::{Error, Result};
use crate::model::DateRange;

/// Records a stay below the root of a table's records.
///
/// # Errors
/// A failure to write it.
pub fn record_stay(root: &Location, record: &StayRecord) -> Result<()> {
    publish_checked(&place(root, record), record)
}

/// The records below a root, of all dates or of a range, by date and time.
///
/// # Errors
/// A failure to list or read them; a refusal if one is damaged.
pub fn stays_below(root: &Location, range: Option<DateRange>) -> Result<Vec<StayRecord>> {
    let found = find_if_there(root, &LakeRoot::layout()?, range)?;
    let mut records = Vec::new();
    for (date, objects) in found.partitions {
        for object in objects {
            let place = &object.location;
            let Some(record) = read_hint::<StayRecord>(place)? else {
                continue;
            };
            if record.snapshot_date != date {
                let what = format!("'{place}' is of {}", record.snapshot_date);
                return Err(Error::damaged(what));
            }
            records.push(record);
        }
    }
    records.sort_by_key(|record| (record.snapshot_date, record.at));
    Ok(records)
}

/// The place of a record, which no other has.
fn place(root: &Location, record: &StayRecord) -> Location {
    let when = |instant: DateTime<Utc>| instant.format(paths::WHEN).to_string();
    let event = match record.event {
        StayEvent::Restored => "restored",
        StayEvent::Pruned => "pruned",
    };
    let until = record.until.map_or_else(|| "standing".to_owned(), when);
    let name = format!(
        "{}-{event}-{until}-{}.json",
        when(record.at),
        record.fingerprint
    );
    paths::partition(root, record.snapshot_date).join(&name)
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;
    use crate::domain::digest::Fingerprint;

    #[test]
    fn what_is_recorded_is_read_and_damage_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Location::local(folder.path().join("_stays"));
        assert_eq!(stays_below(&root, None).expect("none"), []);
        let time = |text: &str| text.parse().expect("a time");
        let record = StayRecord {
            snapshot_date: NaiveDate::from_ymd_opt(2024, 3, 1).expect("a date"),
            fingerprint: Fingerprint(7),
            from: None,
            until: Some(time("2024-03-02T02:00:00Z")),
            event: StayEvent::Restored,
            at: time("2024-03-03T02:00:00Z"),
        };
        let pruned = StayRecord {
            until: None,
            event: StayEvent::Pruned,
            ..record
        };
        for record in [record, pruned, record] {
            record_stay(&root, &record).expect("written");
        }
        let read = || stays_below(&root, None);
        assert_eq!(read().expect("read"), [pruned, record]);
        let path = place(&root, &record);
        let path = path.as_local().expect("a path");
        let text = std::fs::read_to_string(path).expect("text");
        std::fs::write(path, text.replace("03-02", "03-01")).expect("written");
        assert!(read().expect_err("damaged").is_damage());
    }
}
