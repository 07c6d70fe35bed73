//! Plans in pieces, and their rows in order.
//!
//! A scan that can be read in pieces, and what is done to its rows one by one, become as many
//! partitions as there are pieces: filters, projections, and joins that stream these rows past what
//! they hold of the other side. What is above them gets one partition again: the rows of the first
//! piece, then those of the second one. So the rows, and their order, are those of the plan without
//! pieces, and the division is that of the files, whatever the number of processors. The parts of a
//! union follow one another in the same way.
//!
//! An aggregation is done for each piece, and what came out is put together in their order. Groups
//! come in the order of their first rows as without pieces, and a float is the sum of the pieces'
//! sums. Aggregates that keep more than a few numbers for a group are made of the whole.
//!
//! Memory: for each thread a piece's rows that wait, of about [`WAITING_BYTES`], and of all threads
//! at most an eighth of what the query may use.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;

use super::provider::{Scan, row_bytes};
use crate::storage::parquet::object::BATCH_ROWS;

/// How many bytes of a piece may wait until the pieces before it have been taken.
const WAITING_BYTES: usize = 32 << 20;

/// The rule that divides a plan; it comes last.
#[derive(Debug)]
pub(super) struct Pieces;

impl PhysicalOptimizerRule for Pieces {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let divided = plan.transform_down(|node| {
            if let Some(aggregated) = aggregated(&node)? {
                return Ok(Transformed::new(aggregated, true, TreeNodeRecursion::Jump));
            }
            Ok(match divided(&node)? {
                Some(pieces) => Transformed::new(in_order(pieces), true, TreeNodeRecursion::Jump),
                None if node.is::<CoalescePartitionsExec>() => {
                    let inputs = node.children().into_iter().cloned().map(in_order).collect();
                    Transformed::yes(with_children(&node, inputs)?)
                }
                None => Transformed::no(node),
            })
        })?;
        let plan = divided.data;
        // Otherwise the rows of these would come as they are ready.
        let is_union = plan.output_partitioning().partition_count() > 1;
        Ok(if is_union { in_order(plan) } else { plan })
    }

    fn name(&self) -> &str {
        "pieces"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A plan with a partition for each piece of the scan whose rows stream through it; `None` if it
/// holds rows back, or its scan cannot be read in pieces.
fn divided(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(scan) = plan.downcast_ref::<Scan>() {
        return Ok(scan.in_pieces().map(|scan| Arc::new(scan) as _));
    }
    let Some(streamed) = streamed_child(plan.as_ref()) else {
        return Ok(None);
    };
    let mut children: Vec<_> = plan.children().into_iter().cloned().collect();
    match divided(&children[streamed])? {
        Some(pieces) => children[streamed] = pieces,
        None => return Ok(None),
    }
    with_children(plan, children).map(Some)
}

/// The aggregates that keep a few numbers for a group, whatever its rows are.
const SMALL_AGGREGATES: [&str; 5] = ["count", "sum", "avg", "min", "max"];

/// An aggregation above one of each piece; `None` for any other plan, or without pieces.
fn aggregated(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(whole) = plan.downcast_ref::<AggregateExec>() else {
        return Ok(None);
    };
    let is_small = |aggregate: &Arc<AggregateFunctionExpr>| {
        SMALL_AGGREGATES.contains(&aggregate.fun().name())
            && !aggregate.is_distinct()
            && aggregate.order_bys().is_empty()
    };
    let is_plain = *whole.mode() == AggregateMode::Single
        && !whole.group_expr().has_grouping_set()
        && whole.limit_options().is_none()
        && whole.aggr_expr().iter().all(is_small);
    if !is_plain {
        return Ok(None);
    }
    let Some(pieces) = divided(whole.input())? else {
        return Ok(None);
    };
    let of = |mode, group: PhysicalGroupBy, input| {
        let aggregates = whole.aggr_expr().to_vec();
        let filters = whole.filter_expr().to_vec();
        AggregateExec::try_new(
            mode,
            group,
            aggregates,
            filters,
            input,
            whole.input_schema(),
        )
    };
    let group = whole.group_expr();
    let of_pieces = of(AggregateMode::Partial, group.clone(), pieces)?;
    let together = in_order(Arc::new(of_pieces));
    let of_all = of(AggregateMode::Final, group.as_final(), together)?;
    Ok(Some(Arc::new(of_all)))
}

fn with_children(
    plan: &Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let recomputed = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    plan.clone().replace_children(children, recomputed)
}

fn in_order(input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    Arc::new(InOrder::new(input))
}

/// Which child's rows pass a plan one by one, if it keeps nothing of them from one to the next.
fn streamed_child(plan: &dyn ExecutionPlan) -> Option<usize> {
    if plan.fetch().is_some() {
        return None;
    }
    if plan.is::<FilterExec>() || plan.is::<ProjectionExec>() || plan.is::<CooperativeExec>() {
        return Some(0);
    }
    let join = plan.downcast_ref::<HashJoinExec>()?;
    // The others tell at the end which rows of the side that is held have met none.
    let is_streamed = matches!(
        join.join_type(),
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti
    );
    (is_streamed && *join.partition_mode() == PartitionMode::CollectLeft).then_some(1)
}

/// How many bytes may wait for a thread's turn.
fn waiting_bytes(context: &TaskContext, threads: usize) -> usize {
    match context.memory_pool().memory_limit() {
        MemoryLimit::Finite(limit) => WAITING_BYTES.min(limit / (8 * threads)),
        MemoryLimit::Infinite | MemoryLimit::Unknown => WAITING_BYTES,
    }
}

/// The rows of all partitions of its input, one partition after the other.
#[derive(Debug)]
struct InOrder {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl InOrder {
    fn new(input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        InOrder {
            input,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for InOrder {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for InOrder {
    fn name(&self) -> &str {
        "InOrder"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(input) => Arc::new(InOrder::new(input)),
            None => self,
        })
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pieces = self.input.output_partitioning().partition_count();
        let threads = Handle::current().metrics().num_workers();
        let schema = self.schema();
        let waiting = waiting_bytes(&context, threads) / (BATCH_ROWS * row_bytes(&schema)).max(1);
        let input = self.input.clone();
        let start = move |piece: usize| -> Result<SendableRecordBatchStream> {
            let (input, context) = (input.clone(), context.clone());
            if threads < 2 {
                return input.execute(piece, context);
            }
            let mut rows = RecordBatchReceiverStream::builder(input.schema(), waiting.max(1));
            let taken = rows.tx();
            rows.spawn(async move {
                let mut batches = input.execute(piece, context)?;
                while let Some(batch) = batches.next().await {
                    // Nobody takes rows any more when the query has ended.
                    if taken.send(batch).await.is_err() {
                        break;
                    }
                }
                Ok(())
            });
            Ok(rows.build())
        };
        // So many are at work at a time; the first of them is being taken.
        let mut left = 0..pieces;
        let mut started = VecDeque::with_capacity(threads);
        let streams = std::iter::from_fn(move || {
            while started.len() < threads.max(1)
                && let Some(piece) = left.next()
            {
                started.push_back(start(piece));
            }
            started.pop_front()
        });
        let rows = stream::iter(streams).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;

    use super::super::{QueryMemory, Relation, run};
    use super::*;
    use crate::error::{Error, Result};
    use crate::memory::MemoryBudget;
    use crate::storage::Batches;

    const PIECES: usize = 7;
    const PIECE_ROWS: i64 = 3_000;

    /// The numbers from 0 on, in one piece or in several; the row of one of them cannot be read.
    fn numbers(pieces: usize, unreadable: Option<i64>) -> Relation {
        let batch = move |first: i64| {
            if unreadable == Some(first) {
                return Err(Error::refused(format!("row {first} is damaged")));
            }
            let numbers = Int64Array::from_iter_values(first..first + 1000);
            let batch =
                RecordBatch::try_from_iter_with_nullable([("id", Arc::new(numbers) as _, true)]);
            Ok(batch.expect("a batch"))
        };
        let of_piece = |piece: i64| (piece * PIECE_ROWS..(piece + 1) * PIECE_ROWS).step_by(1000);
        let schema = batch(1).expect("a batch").schema();
        let all = PIECES as i64;
        Relation {
            count: Some((PIECE_ROWS * all) as u64),
            pieces,
            ..Relation::new(
                schema,
                Arc::new(move |scan| {
                    let pieces = scan
                        .piece
                        .map_or(0..all, |piece| piece as i64..piece as i64 + 1);
                    Ok(Box::new(pieces.flat_map(of_piece).map(batch)) as Batches)
                }),
            )
        }
    }

    /// The first column of a query over numbers in pieces, `t`, and numbers that are not, `u`.
    fn answer(
        sql: &str,
        pieces: usize,
        queries: usize,
        unreadable: Option<i64>,
    ) -> Result<Vec<i64>> {
        let memory = QueryMemory {
            budget: MemoryBudget((queries as u64) << 28),
            queries,
        };
        let mut found = Vec::new();
        let relations = vec![
            ("t".to_owned(), numbers(pieces, unreadable)),
            ("u".to_owned(), numbers(0, None)),
        ];
        run(sql, relations, memory, &mut |_, batch| {
            found.extend(batch.column(0).as_primitive::<Int64Type>().values());
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn pieces_give_the_rows_of_the_whole_in_their_order_on_any_number_of_threads() {
        for sql in [
            "select id from t",
            "select id * 2 as n from t where id % 3 = 0",
            "select t.id from t join (select id from u where id % 5 = 0) v on t.id = v.id",
            "select id from t where id in (select id from u where id < 8000)",
            "select id from t where id not in (select id from u where id > 30)",
            "select t.id from t left join (select id from u where id % 5 = 0) v on t.id = v.id",
            "select v.id from t right join (select id from u where id < 9) v on t.id = v.id",
            "select id % 1000 as n, count(*) as c from t group by 1",
            "select id % 1000 as n, sum(id) as s, avg(id) as a, min(id) as l from t group by 1",
            "select id, max(id) as m from t group by id having max(id) % 3 = 0",
            "select id % 7 as n, count(distinct id % 5) as c from t where id % 2 = 0 group by 1",
            "select u.id % 9 as n, count(*) as c from t join u on t.id = u.id group by 1",
            "select count(*) as c from t where id < 0",
            "select max(id) filter (where id < 500) as m from t",
            "select id % 3 as n, count(*) as c from t group by rollup(id % 3) order by 2, 1",
            "select distinct id % 11 as n from t",
            "select first_value(id order by id desc) as f from t",
            "select id from t where id < 4000 union all select id from t where id % 2 = 0",
            "select id from t limit 10000",
            "select id from t order by id % 7, id desc limit 100",
            "select sum(id) over (order by id) as n from t",
        ] {
            let whole = answer(sql, 0, 1000, None).expect(sql);
            assert!(!whole.is_empty(), "{sql}");
            for queries in [1, 1000] {
                let pieces = answer(sql, PIECES, queries, None).expect(sql);
                assert!(pieces == whole, "{sql}, one of {queries} queries");
            }
        }
    }

    #[test]
    fn a_failure_of_a_piece_is_that_of_the_query() {
        for queries in [1, 1000] {
            let error = answer("select id from t", PIECES, queries, Some(13_000));
            assert_eq!(
                error.expect_err("damaged").to_string(),
                "row 13000 is damaged"
            );
        }
    }
}
