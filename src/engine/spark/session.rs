//! A session: the views of one date, or of one compaction, and what is computed from them.
//!
//! Sessions share nothing, so dates can run in parallel with views of the same names. A session
//! ends, with its views, when it is dropped.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, Schema, SchemaRef};
use spark_connect_core::{SparkConnectClient, SparkError};
use spark_connect_proto as proto;
use spark_connect_proto::analyze_plan_request::{Analyze, Schema as AskedSchema};
use spark_connect_proto::analyze_plan_response::Result as Analyzed;
use spark_connect_proto::command::CommandType;
use spark_connect_proto::execute_plan_response::ResponseType;
use spark_connect_proto::plan::OpType;
use spark_connect_proto::write_operation::{SaveMode, SaveType};

use super::relation::SparkRelation;
use super::server::{SparkServer, user_context};
use super::types::arrow_type;
use crate::error::{Error, Result};
use crate::interrupt::{RemoteWork, check_cancelled};

/// The settings in which Spark has asof's rules: a value is never cut or shifted in silence, `"x"`
/// is a name, and instants are in UTC.
pub(super) const SETTINGS: [(&str, &str); 10] = [
    ("spark.sql.session.timeZone", "UTC"),
    // As `timestamp` is here.
    ("spark.sql.timestampType", "TIMESTAMP_NTZ"),
    ("spark.sql.ansi.enabled", "true"),
    ("spark.sql.ansi.doubleQuotedIdentifiers", "true"),
    ("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS"),
    ("spark.sql.parquet.datetimeRebaseModeInWrite", "CORRECTED"),
    ("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED"),
    ("spark.sql.legacy.parquet.nanosAsLong", "false"),
    // What compactions ask for, so as not to compare the copies twice, needs it.
    ("spark.sql.adaptive.enabled", "true"),
    // Spark looks at many paths in one task for each, which takes it longer than reading them.
    (
        "spark.sql.sources.parallelPartitionDiscovery.parallelism",
        "8",
    ),
];

/// How often it is looked whether the call was cancelled.
const STEP: Duration = Duration::from_millis(200);
/// How long Spark may take to be told to stop, and to forget a session.
const GOODBYE: Duration = Duration::from_secs(3);

/// A session of Spark.
pub struct SparkSession<'a> {
    server: &'a SparkServer,
    client: Arc<SparkConnectClient>,
    /// What is told to stop if asof is interrupted.
    _work: RemoteWork,
}

/// Rows to be written as Parquet files.
pub struct SparkWrite<'a> {
    /// The rows.
    pub rows: &'a SparkRelation,
    /// The folder, as Spark names it. What lies in it stays.
    pub folder: &'a str,
    /// What the names of the files begin with.
    pub prefix: &'a str,
}

impl<'a> SparkSession<'a> {
    pub(super) fn start(
        server: &'a SparkServer,
        client: Arc<SparkConnectClient>,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let handle = server.runtime.handle().clone();
        let interrupted = client.clone();
        let user = server.remote.address.user_id().map(str::to_owned);
        let work = RemoteWork::of(move || {
            let request = interrupt_request(&interrupted, user.as_deref());
            let stopped = interrupted.interrupt(request);
            let _ = handle.block_on(async { tokio::time::timeout(GOODBYE, stopped).await });
        });
        let session = SparkSession {
            server,
            client,
            _work: work,
        };
        session.set(settings)?;
        Ok(session)
    }

    fn user(&self) -> Option<proto::UserContext> {
        Some(user_context(self.server.remote.address.user_id()))
    }

    /// Tells names apart by their case, as asof does. By default Spark does not, so that a query
    /// may write a name in any case.
    ///
    /// # Errors
    /// A failure to reach the server.
    pub fn tell_cases_apart(&self) -> Result<()> {
        self.set(&[("spark.sql.caseSensitive", "true")])
    }

    fn set(&self, settings: &[(&str, &str)]) -> Result<()> {
        let pairs = settings.iter().map(|(key, value)| proto::KeyValue {
            key: (*key).to_owned(),
            value: Some((*value).to_owned()),
        });
        let set = proto::config_request::Set {
            pairs: pairs.collect(),
            ..Default::default()
        };
        let request = proto::ConfigRequest {
            session_id: self.client.session_id().to_owned(),
            user_context: self.user(),
            operation: Some(proto::config_request::Operation {
                op_type: Some(proto::config_request::operation::OpType::Set(set)),
            }),
            ..Default::default()
        };
        let answered = self.server.runtime.block_on(self.client.config(request));
        answered
            .map(|_| ())
            .map_err(|error| self.server.error(&error))
    }

    /// Gives rows a name, by which queries of the session know them.
    ///
    /// # Errors
    /// A usage error of a query that cannot be planned; a failure to reach the server.
    pub fn name(&self, name: &str, rows: &SparkRelation) -> Result<()> {
        let view = proto::CreateDataFrameViewCommand {
            input: Some(rows.0.clone()),
            name: name.to_owned(),
            is_global: false,
            replace: true,
        };
        self.command(CommandType::CreateDataframeView(view))
    }

    /// The columns of rows, in the types in which asof reads them from the files that Spark writes.
    ///
    /// # Errors
    /// A usage error of a query that cannot be planned; a refusal of a type that asof does not
    /// have; a failure to reach the server.
    pub fn columns(&self, rows: &SparkRelation) -> Result<SchemaRef> {
        let request = proto::AnalyzePlanRequest {
            session_id: self.client.session_id().to_owned(),
            user_context: self.user(),
            analyze: Some(Analyze::Schema(AskedSchema {
                plan: Some(plan(OpType::Root(rows.0.clone()))),
            })),
            ..Default::default()
        };
        let answered = self
            .server
            .runtime
            .block_on(self.client.analyze_plan(request));
        let answer = answered.map_err(|error| self.server.error(&error))?;
        let fields = match answer.result {
            Some(Analyzed::Schema(schema)) => match schema.schema.and_then(|schema| schema.kind) {
                Some(proto::data_type::Kind::Struct(fields)) => fields.fields,
                _ => return Err(Error::internal("Spark tells no columns")),
            },
            _ => return Err(Error::internal("Spark tells no columns")),
        };
        let fields = fields.iter().map(|field| {
            let of = field
                .data_type
                .as_ref()
                .and_then(arrow_type)
                .ok_or_else(|| {
                    let what = format!("asof has no type for Spark's column '{}'", field.name);
                    Error::usage(what)
                        .hint(format!("cast column '{}' in the job's SQL", field.name))
                })?;
            Ok(Field::new(&field.name, of, true))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }

    /// Writes rows as Parquet files. `progress` is told how many tasks have ended, and of how many.
    ///
    /// # Errors
    /// A failure of the query or the server; then none of the files is meant to stay.
    pub fn write(&self, write: &SparkWrite<'_>, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let options = [
            ("mapreduce.output.basename", write.prefix),
            ("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false"),
            ("compression", "zstd"),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let operation = proto::WriteOperation {
            input: Some(write.rows.0.clone()),
            source: Some("parquet".to_owned()),
            mode: SaveMode::Append.into(),
            options: HashMap::from(options),
            save_type: Some(SaveType::Path(write.folder.to_owned())),
            ..Default::default()
        };
        let command = proto::Command {
            command_type: Some(CommandType::WriteOperation(operation)),
        };
        self.execute(OpType::Command(command), &mut |response| {
            if let ResponseType::ExecutionProgress(told) = response {
                let tasks = |count: fn(
                    &proto::execute_plan_response::execution_progress::StageInfo,
                ) -> i64| {
                    told.stages.iter().map(count).sum::<i64>().max(0) as u64
                };
                progress(
                    tasks(|stage| stage.num_completed_tasks),
                    tasks(|stage| stage.num_tasks),
                );
            }
            Ok(())
        })
    }

    fn command(&self, command: CommandType) -> Result<()> {
        let command = proto::Command {
            command_type: Some(command),
        };
        self.execute(OpType::Command(command), &mut |_| Ok(()))
    }

    /// Executes a plan to its end.
    fn execute(
        &self,
        operation: OpType,
        each: &mut dyn FnMut(&ResponseType) -> Result<()>,
    ) -> Result<()> {
        let request = proto::ExecutePlanRequest {
            session_id: self.client.session_id().to_owned(),
            user_context: self.user(),
            plan: Some(plan(operation)),
            ..Default::default()
        };
        let failed = |error: SparkError| self.server.error(&error);
        self.server.runtime.block_on(async {
            let begun = self.client.execute_plan_reattachable(request);
            let mut responses = self.unless_cancelled(begun).await?.map_err(failed)?;
            let mut is_complete = false;
            while let Some(response) = self
                .unless_cancelled(responses.message())
                .await?
                .map_err(failed)?
            {
                if let Some(response) = &response.response_type {
                    is_complete |= matches!(response, ResponseType::ResultComplete(_));
                    each(response)?;
                }
            }
            match is_complete {
                true => Ok(()),
                false => Err(Error::io("Spark ended the answer before it was complete")
                    .hint("run the same command again: it does the dates that are missing")),
            }
        })
    }

    /// Waits for an answer, and tells Spark to stop if the call is cancelled.
    async fn unless_cancelled<T>(&self, answer: impl Future<Output = T>) -> Result<T> {
        // It is not dropped before its end: a connection may be taken up again within it.
        let mut answer = pin!(answer);
        loop {
            match tokio::time::timeout(STEP, answer.as_mut()).await {
                Ok(answer) => return Ok(answer),
                Err(_) => {
                    if let Err(error) = check_cancelled() {
                        let user = self.server.remote.address.user_id();
                        let request = interrupt_request(&self.client, user);
                        let _ = tokio::time::timeout(GOODBYE, self.client.interrupt(request)).await;
                        return Err(error);
                    }
                }
            }
        }
    }
}

impl Drop for SparkSession<'_> {
    /// Has the server forget the session. One that is gone forgets it by itself.
    fn drop(&mut self) {
        let client = &self.client;
        let runtime = &self.server.runtime;
        let _ = runtime
            .block_on(async { tokio::time::timeout(GOODBYE, client.release_session()).await });
    }
}

fn plan(operation: OpType) -> proto::Plan {
    proto::Plan {
        op_type: Some(operation),
    }
}

fn interrupt_request(client: &SparkConnectClient, user: Option<&str>) -> proto::InterruptRequest {
    proto::InterruptRequest {
        session_id: client.session_id().to_owned(),
        user_context: Some(user_context(user)),
        interrupt_type: proto::interrupt_request::InterruptType::All.into(),
        ..Default::default()
    }
}
