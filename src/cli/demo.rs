//! `asof demo`: the whole journey on bundled real data.
//!
//! Each step is a command that is printed and then run, in this process, by the same code that a
//! shell would reach. Only the comparison in the middle is made here: the job's query once more,
//! with every date joined to the newest copy of the table, which is what a rerun without asof does.
//!
//! Lake, flights and outputs are in one folder, or below a URL of an object store; then what is
//! local is the configuration and the releases.

#[cfg(feature = "sql")]
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::args::{Color, Global};
use super::printer::{BOLD, DIM, Printer, paint};
#[cfg(feature = "sql")]
use super::printer::{columns, number};
use crate::error::{Error, Result};
use crate::storage::lake::commit::{Staged, write_error};
use crate::storage::lake::location::Location;
use crate::storage::object_store::registry::Stores;

/// The first line of the demonstration's asof.toml, by which it knows its own folder again.
const MARK: &str = "# asof demo";

/// What asof.toml says; `ROOT/` is nothing in a folder, and the URL in a store.
const CONFIG: &str = r#"# asof demo: airports that change slowly, and flights that are joined to them.
lake = "ROOT/lake"

[tables.airport]
key = ["icao"]
tolerance = "7d"        # some flights are of the day after a release

[events.flights]
path = "ROOT/flights"
layout = "date=%Y-%m-%d"

[jobs.passengers]
sql = """
  select country, count(*) as flights, sum(pax) as passengers
  from flights join airport on airport.icao = flights.airport
  group by country
  order by country
"""
output = "ROOT/passengers"
"#;

macro_rules! releases {
    ($($date:literal),* $(,)?) => {
        /// Dated releases of the airports table, compressed CSV.
        const RELEASES: &[(&str, &[u8])] = &[$(($date, include_bytes!(concat!("../../fixtures/airports/", $date, ".csv.gz")))),*];
    };
}

macro_rules! flights {
    ($($date:literal),* $(,)?) => {
        /// Flights of some days, CSV.
        const FLIGHTS: &[(&str, &[u8])] = &[$(($date, include_bytes!(concat!("../../fixtures/flights/date=", $date, "/flights.csv")))),*];
    };
}

releases! {
    "2020-11-06",
    "2020-12-05",
    "2021-04-25",
    "2021-05-25",
    "2021-08-14",
    "2021-09-21",
    "2021-10-05",
    "2021-12-28",
    "2022-04-06",
    "2022-06-08",
    "2022-08-24",
    "2022-10-17",
    "2022-11-21",
    "2023-03-03",
    "2023-05-09",
    "2023-07-16",
    "2023-10-17",
    "2023-12-30",
    "2024-02-02",
    "2024-04-15",
    "2024-08-06",
    "2024-10-01",
    "2025-02-04",
    "2025-05-23",
    "2025-09-09",
    "2026-03-04",
    "2026-09-05",
}

flights! {
    "2021-04-25",
    "2021-12-29",
    "2022-06-08",
    "2022-10-17",
    "2023-03-04",
    "2023-10-17",
    "2024-08-07",
    "2025-02-04",
    "2025-05-24",
    "2026-09-05",
}

/// Runs the demonstration in a folder, which is made if it is not there, or below a URL.
pub(super) fn demo(place: &str, here: &Path, global: &Global, printer: &Printer) -> Result<u8> {
    if global.json {
        return Err(Error::usage("the demo is to be read: it has no --json")
            .hint("each of its commands has"));
    }
    let stores = Stores::new(
        std::env::vars()
            .map(|(name, value)| (name, value.into()))
            .collect(),
        std::collections::BTreeMap::new(),
    )?;
    let data = Location::parse(place, here, &stores)?;
    let (folder, root) = match data.as_local() {
        Some(path) => (path.to_owned(), String::new()),
        None => (
            here.join(format!(
                "asof-demo-{}",
                place.split("://").next().unwrap_or_default()
            )),
            format!("{data}/"),
        ),
    };
    prepare(&folder, &root, &data)?;
    let tour = Tour {
        folder,
        root,
        data,
        printer,
        color: global.color,
        allow_unsafe_store: global.allow_unsafe_store,
    };
    tour.run()
}

/// Lays out the data and the configuration.
fn prepare(folder: &Path, root: &str, data: &Location) -> Result<()> {
    let config = folder.join("asof.toml");
    let is_ours = std::fs::read_to_string(&config).is_ok_and(|text| text.starts_with(MARK));
    let is_empty = std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if !is_ours && !is_empty {
        return Err(Error::usage(format!("'{}' is not empty", folder.display()))
            .hint("asof demo NEW-FOLDER"));
    }
    let text = CONFIG.replace("ROOT/", root);
    let local = Location::local(folder);
    let flights = || {
        let day = |(date, bytes): &(&str, &[u8])| {
            write(
                &data.join(&format!("flights/date={date}/flights.csv")),
                bytes,
            )
        };
        FLIGHTS.iter().try_for_each(day)
    };
    if !root.is_empty() {
        // First what may fail: nothing is left behind for a bucket that is not there. A demo in
        // another bucket may have left its own.
        flights()?;
        if is_ours && std::fs::read_to_string(&config).is_ok_and(|found| found != text) {
            local.join("asof.toml").remove()?;
        }
    }
    write(&local.join("asof.toml"), text.as_bytes())?;
    for (date, bytes) in RELEASES {
        write(&local.join(&format!("airports/{date}.csv.gz")), bytes)?;
    }
    if root.is_empty() { flights() } else { Ok(()) }
}

/// Writes a file, unless it is there.
fn write(target: &Location, bytes: &[u8]) -> Result<()> {
    if target.exists()? {
        return Ok(());
    }
    let staged = Staged::create(target)?;
    std::io::Write::write_all(&mut staged.writer()?, bytes)
        .map_err(|error| write_error(error, target))?;
    staged.publish_over().map(|_| ())
}

/// One walk through the commands.
struct Tour<'a> {
    /// Where asof.toml and the releases are.
    folder: PathBuf,
    /// What the names of lake, flights and outputs begin with.
    root: String,
    /// Where they are.
    #[cfg_attr(
        not(feature = "sql"),
        allow(dead_code, reason = "only the comparison reads it")
    )]
    data: Location,
    printer: &'a Printer,
    color: Color,
    allow_unsafe_store: bool,
}

impl Tour<'_> {
    fn say(&self, text: &str) -> Result<()> {
        self.printer.line(format!("\n{}", paint(BOLD, text)))
    }

    /// Prints a command and runs it.
    fn command(&self, arguments: &str) -> Result<()> {
        self.printer
            .line(format!("{} asof {arguments}", paint(DIM, "$")))?;
        self.quietly(arguments)
    }

    /// Runs a command that has been printed in another form.
    fn quietly(&self, arguments: &str) -> Result<()> {
        let color = match self.color {
            Color::Auto => "auto",
            Color::Always => "always",
            Color::Never => "never",
        };
        let lake = format!("{}lake", self.root);
        let fixed = [
            "asof",
            "--no-progress",
            "--config",
            "asof.toml",
            "--lake",
            &lake,
            "--color",
            color,
        ];
        let unsafe_store = self.allow_unsafe_store.then_some("--allow-unsafe-store");
        let words = fixed
            .iter()
            .copied()
            .chain(unsafe_store)
            .chain(arguments.split(' '))
            .map(OsString::from);
        match super::run(words, &self.folder) {
            0 => Ok(()),
            code => Err(Error::io(format!("'asof {arguments}' ended with {code}"))),
        }
    }

    fn run(&self) -> Result<u8> {
        let newest = RELEASES.last().map_or("", |release| release.0);
        self.printer.line(format!(
            "Airports change: codes, names, countries. Here are {} dated releases of a real table \
             of airports, and flights\non {} days between them. How many passengers flew to each \
             country?",
            RELEASES.len(),
            FLIGHTS.len()
        ))?;
        self.printer
            .line(format!("{} cd {}", paint(DIM, "$"), self.folder.display()))?;

        self.say(
            "1. Keep a dated copy of the table, each night. --backdate allows past \
             releases.",
        )?;
        self.printer.line(format!(
            "{} for day in $(ls airports | cut -d. -f1); do asof snapshot airport --date $day \
             --backdate --source airports/$day.csv.gz; done",
            paint(DIM, "$")
        ))?;
        for (date, _) in RELEASES {
            self.quietly(&format!(
                "snapshot airport --date {date} --backdate --source airports/{date}.csv.gz"
            ))?;
        }

        self.say(
            "2. Turn the copies into intervals: each row once, with the dates over which it held.",
        )?;
        self.command("compact airport")?;

        self.say(
            "3. Look at one airport: it left, returned, and left for good, under a new code.",
        )?;
        self.command("history airport UTTT")?;

        self.say("4. Run the job for every day, with the airports as they were on that day.")?;
        let from = FLIGHTS.first().map_or("", |day| day.0);
        let to = FLIGHTS.last().map_or("", |day| day.0);
        self.command(&format!("backfill passengers --from {from} --to {to}"))?;

        self.say("5. The same query, joined to today's table instead: what a plain rerun gives.")?;
        self.compare(newest)?;

        self.say("6. Run it again: there is nothing left to do.")?;
        self.command(&format!("backfill passengers --from {from} --to {to}"))?;

        self.say(
            "7. Verify that nothing was lost: the intervals reproduce every snapshot, row for row.",
        )?;
        self.command("verify airport")?;

        self.say("8. See what there is.")?;
        self.command("status airport")?;

        self.suggest()?;
        Ok(0)
    }

    /// Prints what to try next.
    fn suggest(&self) -> Result<()> {
        self.say("Now try")?;
        self.printer
            .line(format!("  cd {}", self.folder.display()))?;
        if let Some(folder) = not_on_path() {
            self.printer
                .line(format!("  export PATH=\"$PATH:{}\"", folder.display()))?;
        }
        for hint in [
            "asof diff airport 2022-10-17 2022-11-21",
            "asof show airport --date 2021-06-01 --where \"country = 'UZ'\"",
            "asof backfill passengers --from 2021-04-25 --to 2021-04-25 --only all",
            "asof report   # one page with charts: asof-report.html",
            "asof init   # in a folder of your own, for a table of your own",
        ] {
            self.printer.line(format!("  {hint}"))?;
        }
        Ok(())
    }

    /// Prints both answers next to each other.
    #[cfg(feature = "sql")]
    fn compare(&self, newest: &str) -> Result<()> {
        let date = |text: &str| crate::model::parse_date(text);
        let mut rows = Vec::new();
        for (day, _) in FLIGHTS {
            let as_of = totals(
                read_parquet(
                    &self
                        .data
                        .join(&format!("passengers/date={day}/passengers.parquet")),
                )?
                .into_iter(),
            )?;
            let today = self.joined_to(newest, date(day)?)?;
            let pick = |totals: &BTreeMap<String, i64>, country: &str| {
                number(u64::try_from(totals.get(country).copied().unwrap_or(0)).unwrap_or(0))
            };
            let all = |totals: &BTreeMap<String, i64>| {
                number(u64::try_from(totals.values().sum::<i64>()).unwrap_or(0))
            };
            rows.push(vec![
                (*day).to_owned(),
                pick(&today, "UZ"),
                pick(&as_of, "UZ"),
                pick(&today, "PR"),
                pick(&as_of, "PR"),
                all(&today),
                all(&as_of),
            ]);
        }
        let header = [
            "passengers on",
            "UZ today's",
            "UZ as of",
            "PR today's",
            "PR as of",
            "all today's",
            "all as of",
        ];
        self.printer
            .line(columns(&header, rows, &[1, 2, 3, 4, 5, 6]))?;
        self.printer.line(
            "Uzbekistan's airport codes changed from UT.. to UZ.., and Puerto \
             Rico's country from PR to US: joined to today's\ntable, the flights of earlier years \
             find no airport, or the wrong country. Nothing fails. The numbers are simply wrong.",
        )
    }

    #[cfg(not(feature = "sql"))]
    fn compare(&self, _newest: &str) -> Result<()> {
        Err(
            Error::usage("the demo's job is SQL, and this asof was built without it")
                .hint("cargo run -- demo"),
        )
    }

    /// The job's query for a day, joined to the copy of another.
    #[cfg(feature = "sql")]
    fn joined_to(&self, snapshot: &str, day: chrono::NaiveDate) -> Result<BTreeMap<String, i64>> {
        use std::sync::Arc;

        use crate::domain::placeholders::JobDay;
        use crate::domain::placeholders::sql::{SqlOf, bind};
        use crate::engine::sql::{QueryMemory, Relation, run};
        use crate::memory::MemoryBudget;
        use crate::source::{FormatRule, TypeRules, files_of, read};

        let config = crate::config::Config::load(&self.folder.join("asof.toml"))?;
        let sql = config
            .jobs
            .get("passengers")
            .and_then(|job| job.sql.clone())
            .ok_or_else(|| Error::usage("asof.toml has no job 'passengers' any more"))?;
        let flights = self.data.join(&format!("flights/date={day}/flights.csv"));
        let airports = self.data.join(&format!(
            "lake/airport/snapshots/snapshot_date={snapshot}/airport.parquet"
        ));
        let relation = |file: Location| -> Result<Relation> {
            let files = files_of(&file)?;
            let format = FormatRule::default().of(&files)?;
            let schema = read(&files, format, &TypeRules::default(), None)?.schema;
            Ok(Relation::new(
                schema,
                Arc::new(move |_| Ok(read(&files, format, &TypeRules::default(), None)?.batches)),
            ))
        };
        let relations = vec![
            ("flights".to_owned(), relation(flights)?),
            ("airport".to_owned(), relation(airports)?),
        ];
        let mut batches = Vec::new();
        let memory = QueryMemory {
            budget: MemoryBudget::default(),
            queries: 1,
        };
        run(
            &bind(&sql, JobDay::utc(day), SqlOf::Job).expect("bound"),
            relations,
            memory,
            &mut |_, batch| {
                batches.push(batch);
                Ok(())
            },
        )?;
        totals(batches.into_iter())
    }
}

/// The folder of this program, if a shell would not find it.
fn not_on_path() -> Option<std::path::PathBuf> {
    let folder = std::env::current_exe().ok()?.parent()?.to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    (!std::env::split_paths(&path).any(|entry| entry == folder)).then_some(folder)
}

/// Passengers by country, from the job's rows.
#[cfg(feature = "sql")]
fn totals(
    batches: impl Iterator<Item = arrow::array::RecordBatch>,
) -> Result<BTreeMap<String, i64>> {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    let mut totals = BTreeMap::new();
    for batch in batches {
        let column = |name: &str| {
            batch
                .column_by_name(name)
                .ok_or_else(|| Error::io(format!("the job's rows have no column '{name}'")))
        };
        let countries = column("country")?
            .as_string_opt::<i32>()
            .io_text("country")?;
        let passengers = column("passengers")?
            .as_primitive_opt::<Int64Type>()
            .io_text("passengers")?;
        for row in 0..batch.num_rows() {
            totals.insert(countries.value(row).to_owned(), passengers.value(row));
        }
    }
    Ok(totals)
}

/// An absent reading as a failure.
#[cfg(feature = "sql")]
trait OrOtherType<T> {
    fn io_text(self, column: &str) -> Result<T>;
}

#[cfg(feature = "sql")]
impl<T> OrOtherType<T> for Option<T> {
    fn io_text(self, column: &str) -> Result<T> {
        self.ok_or_else(|| Error::io(format!("the job's column '{column}' is of another type")))
    }
}

#[cfg(feature = "sql")]
fn read_parquet(path: &Location) -> Result<Vec<arrow::array::RecordBatch>> {
    crate::storage::parquet::object::ParquetObject::open(path)?
        .read(None)?
        .collect()
}
