//! A world of its own for each test: a folder, a pinned clock, no environment, and a transcript of
//! every command with its output, its errors and its exit code.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use arrow::util::display::array_value_to_string;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;

/// The program under test.
pub(crate) const ASOF: &str = env!("CARGO_BIN_EXE_asof");

/// A listing of every file under a folder, hidden ones too, with the hash of its content.
pub(crate) type Tree = BTreeMap<String, String>;

/// One test's folder and what was done in it.
pub(crate) struct World {
    _folder: TempDir,
    root: PathBuf,
    now: String,
    variables: Vec<(String, String)>,
    names: Vec<(String, String)>,
    transcript: String,
}

impl World {
    /// An empty folder, on 2024-03-01 at two in the morning.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("asof-test-")
            .tempdir()
            .expect("a temporary folder");
        let root = folder.path().canonicalize().expect("its real path");
        World {
            _folder: folder,
            root,
            now: "2024-03-01T02:00:00Z".into(),
            variables: Vec::new(),
            names: Vec::new(),
            transcript: String::new(),
        }
    }

    /// A shop with a configuration, three days of events and, if wanted, three nights of snapshots.
    pub(crate) fn shop(nights: usize) -> Self {
        let mut world = World::new();
        world.write("asof.toml", SHOP);
        for (day, rows) in (1..).zip(EVENTS) {
            world.write(
                &format!("item_events/year=2024/month=03/day=0{day}/events.csv"),
                format!("event_id,item_id,qty,name\n{rows}"),
            );
        }
        for night in 1..=nights {
            world.night(night);
            assert_eq!(world.quietly("snapshot item").status.code(), Some(0));
        }
        world
    }

    /// Sets the clock and the source to those of a night of the shop.
    pub(crate) fn night(&mut self, night: usize) {
        self.now = format!("2024-03-0{night}T02:00:00Z");
        self.write(
            "item.csv",
            format!("id,name,status,price\n{}", NIGHTS[night - 1]),
        );
    }

    /// Sets the clock.
    pub(crate) fn at(&mut self, date: &str) {
        self.now = format!("{date}T02:00:00Z");
    }

    /// Sets the clock to an instant, such as `2024-03-10T06:59:59Z`.
    pub(crate) fn at_instant(&mut self, instant: &str) {
        self.now = instant.to_owned();
    }

    /// Sets a variable of the environment.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Has the transcript show a name for something that is another one in every run.
    pub(crate) fn call(&mut self, text: &str, name: &str) {
        self.names.push((text.to_owned(), name.to_owned()));
    }

    /// A text with the names that the transcript has for what is another one in every run.
    pub(crate) fn named(&self, text: &str) -> String {
        let program = Path::new(ASOF)
            .parent()
            .expect("a folder")
            .display()
            .to_string();
        let text = text
            .replace(&self.root.display().to_string(), "[ROOT]")
            .replace(&program, "[BIN]");
        self.names
            .iter()
            .fold(text, |text, (long, name)| text.replace(long, name))
    }

    /// What was done so far, and what came of it.
    pub(crate) fn transcript(&self) -> &str {
        &self.transcript
    }

    /// A path in the folder.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Writes a file, with the folders that it needs.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders are made");
        std::fs::write(path, content).expect("a file is written");
    }

    /// Writes a Parquet file, as another tool would.
    pub(crate) fn parquet(&self, path: &str, columns: &[(&str, arrow::array::ArrayRef)]) {
        let rows = arrow::array::RecordBatch::try_from_iter(columns.iter().cloned()).expect("rows");
        let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), rows.schema(), None)
            .expect("a writer");
        writer.write(&rows).expect("written");
        self.write(path, writer.into_inner().expect("finished"));
    }

    /// A process of the program, ready to start: the arguments are split as a shell would split
    /// them.
    pub(crate) fn command(&self, line: &str) -> Command {
        self.prepared(ASOF, &words(line))
    }

    /// A process of any program with this world's folder, clock and environment.
    pub(crate) fn prepared(&self, program: &str, arguments: &[String]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).env_clear();
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ASOF_NOW", &self.now);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command that does not appear in the transcript.
    pub(crate) fn quietly(&self, line: &str) -> Output {
        self.command(&format!("--no-progress {line}"))
            .output()
            .expect("asof starts")
    }

    /// Runs a command with `--json`, and reads the one document that it prints.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let output = self.quietly(&format!("--json {line}"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!(
                "{line}: {error}\n{}\n{}",
                text(&output.stdout),
                text(&output.stderr)
            )
        })
    }

    /// Runs a command and adds what it printed to the transcript; returns its exit code.
    pub(crate) fn asof(&mut self, line: &str) -> i32 {
        let output = self.quietly(line);
        self.record(&format!("asof {line}"), &output)
    }

    /// The same with something on standard input.
    pub(crate) fn asof_reading(&mut self, line: &str, input: &[u8]) -> i32 {
        let mut child = self
            .command(&format!("--no-progress {line}"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("asof starts");
        // A command that refuses before it reads closes the pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        let output = child.wait_with_output().expect("it ends");
        self.record(&format!("asof {line} < input"), &output)
    }

    /// Runs a command that must end with a code and leave every file as it was. A copy that a check
    /// refused is kept.
    #[track_caller]
    pub(crate) fn refuses(&mut self, code: i32, line: &str) {
        let files = |world: &World| {
            let mut tree = world.tree("");
            tree.retain(|path, _| !path.contains("/_refused/"));
            tree
        };
        let before = files(self);
        let ended = self.asof(line);
        assert_eq!(ended, code, "{}", self.transcript);
        assert_eq!(before, files(self), "asof {line} left something behind");
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub(crate) fn succeeds(&mut self, line: &str) {
        let code = self.asof(line);
        assert_eq!(code, 0, "{}", self.transcript);
    }

    /// Adds a finished command to the transcript.
    pub(crate) fn record(&mut self, line: &str, output: &Output) -> i32 {
        let code = output.status.code().unwrap_or(-1);
        self.transcript
            .push_str(&format!("$ {}\n", self.named(line)));
        for (stream, mark) in [(&output.stdout, ""), (&output.stderr, "! ")] {
            for line in self.named(&text(stream)).lines() {
                self.transcript
                    .push_str(format!("{mark}{}", without_time(line)).trim_end());
                self.transcript.push('\n');
            }
        }
        self.transcript.push_str(&if code == 0 {
            "\n".to_owned()
        } else {
            format!("[exit {code}]\n\n")
        });
        code
    }

    /// Adds a line of explanation to the transcript.
    pub(crate) fn tell(&mut self, what: &str) {
        self.transcript.push_str(&format!("# {what}\n"));
    }

    /// Compares the transcript with the one under tests/snapshots.
    pub(crate) fn pin(&self, name: &str) {
        pin(name, self.transcript.trim_end());
    }

    /// Every file under a folder of this world; the name of a folder without files ends with a
    /// slash.
    pub(crate) fn tree(&self, under: &str) -> Tree {
        let mut tree = Tree::new();
        let top = self.path(under);
        if top.exists() {
            list(&top, &top, &mut tree);
        }
        tree
    }

    /// The names of the files under a folder, one a line.
    pub(crate) fn listing(&self, under: &str) -> Vec<String> {
        self.tree(under).into_keys().collect()
    }

    /// A file's bytes.
    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The Arrow type of a column of a Parquet file.
    pub(crate) fn column_type(&self, path: &str, column: &str) -> String {
        let file =
            std::fs::File::open(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        reader
            .schema()
            .field_with_name(column)
            .expect("a column")
            .data_type()
            .to_string()
    }

    /// What asof says of a Parquet file in its footer.
    pub(crate) fn footer(&self, path: &str) -> serde_json::Value {
        use parquet::file::reader::{FileReader as _, SerializedFileReader};
        let reader =
            SerializedFileReader::new(std::fs::File::open(self.path(path)).expect("a file"))
                .expect("Parquet");
        let values = reader
            .metadata()
            .file_metadata()
            .key_value_metadata()
            .cloned()
            .unwrap_or_default();
        let value = values
            .into_iter()
            .find(|pair| pair.key == "asof")
            .and_then(|pair| pair.value);
        serde_json::from_str(&value.expect("the footer")).expect("JSON")
    }

    /// The rows of a Parquet file as text: the header first, values joined by `|`.
    pub(crate) fn rows(&self, path: &str) -> Vec<String> {
        let file =
            std::fs::File::open(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .expect("Parquet")
            .build()
            .expect("a reader");
        let mut rows = vec![];
        for batch in reader {
            let batch = batch.expect("rows");
            if rows.is_empty() {
                rows.push(
                    batch
                        .schema()
                        .fields()
                        .iter()
                        .map(|field| field.name().as_str())
                        .collect::<Vec<_>>()
                        .join("|"),
                );
            }
            for row in 0..batch.num_rows() {
                let cell = |column: &arrow::array::ArrayRef| {
                    if column.is_null(row) {
                        "null".to_owned()
                    } else {
                        array_value_to_string(column, row).expect("text")
                    }
                };
                rows.push(
                    batch
                        .columns()
                        .iter()
                        .map(cell)
                        .collect::<Vec<_>>()
                        .join("|"),
                );
            }
        }
        rows
    }
}

/// A line without the time that a search, or the phases of a command, took.
fn without_time(line: &str) -> String {
    if line.starts_with("took ") {
        return "took [TIME]".to_owned();
    }
    match line.split_once(" in ") {
        Some((requests, time)) if requests.contains(" request") && time.ends_with('s') => {
            format!("{requests} in [TIME]")
        }
        _ => line.to_owned(),
    }
}

/// Compares a text with the one under tests/snapshots.
pub(crate) fn pin(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Sends a signal, such as `TERM`, to a process.
pub(crate) fn send(signal: &str, child: &std::process::Child) {
    let kill = Command::new("kill")
        .args([format!("-{signal}"), child.id().to_string()])
        .status();
    assert!(kill.expect("kill runs").success());
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn list(top: &Path, folder: &Path, tree: &mut Tree) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .strip_prefix(top)
            .expect("under it")
            .display()
            .to_string();
        if path.is_dir() {
            let before = tree.len();
            list(top, &path, tree);
            if tree.len() == before {
                tree.insert(name + "/", String::new());
            }
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            tree.insert(
                name,
                format!(
                    "{} bytes, {:032x}",
                    bytes.len(),
                    xxhash_rust::xxh3::xxh3_128(&bytes)
                ),
            );
        }
    }
}

/// Splits a line into words; quotes of both kinds hold words together.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None) => word.get_or_insert_default().extend(letters.next()),
            (_, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (' ', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

pub(crate) const SHOP: &str = r#"lake = "lake"

[tables.item]
source = "item.csv"
key = ["id"]

[events.item_events]
path = "item_events"
layout = "year=%Y/month=%m/day=%d"
"#;

/// The items on three nights: a price changes, a draft becomes active, one is new; then one is gone
/// and one is paused.
const NIGHTS: [&str; 3] = [
    "1,Bolt,ACTIVE,1.5\n2,Nut,ACTIVE,0.25\n3,Gear,DRAFT,12\n",
    "1,Bolt,ACTIVE,1.75\n2,Nut,ACTIVE,0.25\n3,Gear,ACTIVE,12\n4,Washer,ACTIVE,0.05\n",
    "2,Nut,PAUSED,0.25\n3,Gear,ACTIVE,12\n4,Washer,ACTIVE,0.05\n",
];

/// Three days of events: of items that are there, of one that is not, and of none.
pub(crate) const EVENTS: [&str; 3] = [
    "a1,1,2,web\na2,3,1,web\na3,9,5,app\na4,,1,app\n",
    "b1,1,1,web\nb2,3,2,app\nb3,4,7,app\n",
    "c1,1,4,web\nc2,2,1,web\nc3,3,3,app\n",
];
