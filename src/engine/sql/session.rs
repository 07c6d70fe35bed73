//! The one place that says how DataFusion is set up: for jobs and for conditions alike.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::optimizer::analyzer::resolve_grouping_function::ResolveGroupingFunction;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::alignment::Alignment;
use super::checked::CheckedArithmetic;
use super::functions;
use super::in_order::Pieces;
use crate::storage::parquet::object::BATCH_ROWS;

/// A session whose queries hold back at most `memory` bytes, or as much as they need.
pub(super) fn session(memory: Option<usize>) -> Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false);
    config.options_mut().execution.sort_spill_reservation_bytes = 0;
    // Pieces of a scan run one after the other: a filter that waits for all of them would wait
    // forever.
    config
        .options_mut()
        .optimizer
        .enable_dynamic_filter_pushdown = false;
    // A piece has few more rows than by default are looked at before rows of as many groups pass.
    config
        .options_mut()
        .execution
        .skip_partial_aggregation_probe_rows_threshold = BATCH_ROWS;
    // 8.70 is the decimal 8.70.
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    let nothing_aside = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let mut environment = RuntimeEnvBuilder::new().with_disk_manager_builder(nothing_aside);
    if let Some(bytes) = memory {
        environment = environment.with_memory_pool(Arc::new(GreedyMemoryPool::new(bytes)));
    }
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment.build_arc()?)
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(Pieces))
        .with_analyzer_rules(vec![
            Arc::new(Alignment),
            Arc::new(ResolveGroupingFunction::new()),
            Arc::new(TypeCoercion::new()),
            Arc::new(CheckedArithmetic),
        ])
        .build();
    let context = SessionContext::new_with_state(state);
    functions::register(&context);
    Ok(context)
}
