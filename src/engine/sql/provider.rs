//! Relations as tables of DataFusion's.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

use super::{Relation, copies};
use crate::domain::cast::conform;
use crate::error::Error;

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
    ) -> datafusion::error::Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match self.0.copies.is_some() && copies::is_on_date(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(indices) => Arc::new(self.0.schema.project(indices)?),
            None => self.0.schema.clone(),
        };
        let mut relation = self.0.clone();
        if let (Some(copies), Some(state)) = (
            &self.0.copies,
            state.as_any().downcast_ref::<SessionState>(),
        ) {
            relation.open = (copies.only)(&copies::passing(state, filters, &copies.dates));
        }
        let scan = Arc::new(Scan {
            relation,
            schema: schema.clone(),
        });
        Ok(Arc::new(StreamingTableExec::try_new(
            schema,
            vec![scan],
            None,
            vec![],
            false,
            limit,
        )?))
    }
}

/// The projected columns of a relation.
#[derive(Debug)]
struct Scan {
    relation: Relation,
    schema: SchemaRef,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let columns: Vec<String> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let external = |error: Error| DataFusionError::External(Box::new(error));
        let schema = self.schema.clone();
        let batches: Box<dyn Iterator<Item = datafusion::error::Result<RecordBatch>> + Send> =
            match (self.relation.open)(&columns) {
                Err(error) => Box::new(std::iter::once(Err(external(error)))),
                Ok(batches) => Box::new(batches.map(move |batch| {
                    batch
                        .and_then(|batch| conform(&batch, &schema))
                        .map_err(external)
                })),
            };
        Box::pin(RecordBatchStreamAdapter::new(
            self.schema.clone(),
            futures::stream::iter(batches),
        ))
    }
}
