//! Relations as tables of DataFusion's.
//!
//! A scan takes the columns that the query names, and those of its filters that only compare, so
//! that files are read by them. It says how many rows it will give, so that a join holds the
//! smaller side and streams the other one past it.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::row_filter::{RowFilter, only_compares};
use super::{Relation, Scanned, copies};
use crate::domain::cast::conform;
use crate::error::Error;
use crate::storage::parquet::object::RowCondition;

/// One row of so many is thought to pass a filter, as DataFusion thinks of its own.
const FILTERED: u64 = 5;
/// How many bytes a value has that has no fixed width, such as a text.
const VALUE_BYTES: usize = 24;

/// A relation as DataFusion wants it.
#[derive(Debug)]
pub(super) struct Provider(pub(super) Relation);

#[async_trait::async_trait]
impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.0.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| {
            if self.0.filters && only_compares(filter) {
                TableProviderFilterPushDown::Exact
            } else if self.0.copies.is_some() && copies::is_on_date(filter) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(indices) => Arc::new(self.0.schema.project(indices)?),
            None => self.0.schema.clone(),
        };
        let mut relation = self.0.clone();
        let mut condition: Option<Arc<dyn RowCondition>> = None;
        if let Some(state) = state.as_any().downcast_ref::<SessionState>() {
            if let Some(copies) = &self.0.copies {
                relation.open = (copies.only)(&copies::passing(state, filters, &copies.dates));
            } else if let Some(filter) = RowFilter::of_scan(state, filters, &self.0.schema)? {
                condition = Some(Arc::new(filter));
            }
        }
        Ok(Arc::new(Scan::new(relation, schema, condition, false)))
    }
}

/// About how many bytes a row has in memory.
pub(super) fn row_bytes(schema: &SchemaRef) -> usize {
    let width = |data_type: &DataType| data_type.primitive_width().unwrap_or(VALUE_BYTES);
    let fields = schema.fields().iter();
    fields.map(|field| width(field.data_type())).sum()
}

/// The rows of a relation for which a condition holds, with some of its columns.
pub(super) struct Scan {
    relation: Relation,
    schema: SchemaRef,
    condition: Option<Arc<dyn RowCondition>>,
    /// Whether its partitions are the relation's pieces; if not, it has one.
    in_pieces: bool,
    properties: Arc<PlanProperties>,
}

impl Scan {
    fn new(
        relation: Relation,
        schema: SchemaRef,
        condition: Option<Arc<dyn RowCondition>>,
        in_pieces: bool,
    ) -> Self {
        let partitions = if in_pieces { relation.pieces } else { 1 };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Scan {
            relation,
            schema,
            condition,
            in_pieces,
            // Its thread runs this query alone, so there is nobody to yield to.
            properties: Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative)),
        }
    }

    /// The same scan with a partition for each piece of the relation, if it has several.
    pub(super) fn in_pieces(&self) -> Option<Self> {
        (self.relation.pieces > 1).then(|| {
            Scan::new(
                self.relation.clone(),
                self.schema.clone(),
                self.condition.clone(),
                true,
            )
        })
    }

    /// How many rows and bytes there will be, if that can be guessed.
    fn size(&self) -> Option<(usize, usize)> {
        let filtered = if self.condition.is_some() {
            FILTERED
        } else {
            1
        };
        let rows = usize::try_from(self.relation.count?.div_ceil(filtered)).ok()?;
        Some((rows, rows.saturating_mul(row_bytes(&self.schema))))
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for Scan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &str {
        "Scan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if let Some((rows, bytes)) = self.size() {
            statistics.num_rows = Precision::Inexact(rows);
            statistics.total_byte_size = Precision::Inexact(bytes);
        }
        Ok(Arc::new(statistics))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let fields = self.schema.fields().iter();
        let columns: Vec<String> = fields.map(|field| field.name().clone()).collect();
        let external = |error: Error| DataFusionError::External(Box::new(error));
        let schema = self.schema.clone();
        let batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send> =
            match (self.relation.open)(Scanned {
                columns: &columns,
                condition: self.condition.clone(),
                piece: self.in_pieces.then_some(partition),
            }) {
                Err(error) => Box::new(std::iter::once(Err(external(error)))),
                Ok(batches) => Box::new(batches.map(move |batch| {
                    batch
                        .and_then(|batch| conform(&batch, &schema))
                        .map_err(external)
                })),
            };
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema.clone(),
            futures::stream::iter(batches),
        )))
    }
}
