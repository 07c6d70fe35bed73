//! Conditions in the form in which files are read by them: the statistics tell which row groups
//! cannot hold a row, and the values of its own columns which rows do.
//!
//! The reasoning about statistics is DataFusion's, on everything but floats: their statistics leave
//! NaN out, which is greater than any number here.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::TreeNode as _;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr_rewriter::unnormalize_col;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use super::failures::wrong;
use crate::domain::cast::{cast_exactly, conform};
use crate::domain::widening::widen;
use crate::error::{Error, Result};
use crate::storage::parquet::object::{GroupStatistics, RowCondition};

/// A condition over the columns of a schema.
pub(in crate::engine) struct RowFilter {
    expression: Arc<dyn PhysicalExpr>,
    /// The columns that it names.
    schema: SchemaRef,
    names: Vec<String>,
    /// Whether it only compares values, so that texts may come in dictionaries.
    compares: bool,
    /// What errors call it.
    what: String,
}

impl RowFilter {
    /// An expression over exactly the columns of `schema`.
    pub(super) fn new(
        expression: Arc<dyn PhysicalExpr>,
        schema: SchemaRef,
        what: impl Into<String>,
    ) -> Self {
        let names = schema.fields().iter().map(|field| field.name().clone());
        RowFilter {
            names: names.collect(),
            expression,
            schema,
            compares: false,
            what: what.into(),
        }
    }

    /// The filters that a query hands to the scan of a relation, all of which have to hold; nothing
    /// if there are none.
    pub(super) fn of_scan(
        state: &SessionState,
        filters: &[Expr],
        relation: &Schema,
    ) -> datafusion::error::Result<Option<Self>> {
        let Some(all) = conjunction(filters.iter().cloned().map(unnormalize_col)) else {
            return Ok(None);
        };
        let named = all.column_refs();
        let fields = relation
            .fields()
            .iter()
            .filter(|field| named.iter().any(|column| column.name == *field.name()))
            .cloned();
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let compares = only_compares(&all) && !has_list(&all);
        let expression = state.create_physical_expr(all, &DFSchema::try_from(schema.clone())?)?;
        Ok(Some(RowFilter {
            compares,
            ..RowFilter::new(expression, Arc::new(schema), "the job's SQL")
        }))
    }

    /// The schema in which it is evaluated on the rows of a batch: texts that come in dictionaries
    /// stay there if it only compares them, since each is compared once then.
    fn evaluated(&self, batch: &RecordBatch) -> SchemaRef {
        let in_dictionary = |field: &FieldRef| {
            let own = batch.schema_ref().field_with_name(field.name()).ok()?;
            let is_kept = self.takes_dictionaries(field.name())
                && matches!(own.data_type(), DataType::Dictionary(..));
            is_kept.then(|| {
                field
                    .as_ref()
                    .clone()
                    .with_data_type(own.data_type().clone())
            })
        };
        let fields = self.schema.fields().iter();
        let fields =
            fields.map(|field| in_dictionary(field).map_or_else(|| field.clone(), Arc::new));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl RowCondition for RowFilter {
    fn columns(&self) -> &[String] {
        &self.names
    }

    fn takes_dictionaries(&self, column: &str) -> bool {
        let field = self.schema.field_with_name(column);
        self.compares && field.is_ok_and(|field| field.data_type() == &DataType::Utf8)
    }

    fn may_hold(&self, groups: &GroupStatistics<'_>) -> Vec<bool> {
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(self.schema.clone())
            .try_build(self.expression.clone());
        let pruned = predicate.and_then(|predicate| {
            predicate.prune(&Statistics {
                groups,
                schema: &self.schema,
            })
        });
        pruned.unwrap_or_else(|_| vec![true; groups.len()])
    }

    /// A condition that is null does not hold; a column that the batch does not have is null.
    fn holds(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let batch = conform(batch, &self.evaluated(batch))?;
        let value = self
            .expression
            .evaluate(&batch)
            .and_then(|value| value.into_array(batch.num_rows()))
            .map_err(|error| wrong(&error, &self.what))?;
        let truth = value
            .as_boolean_opt()
            .ok_or_else(|| Error::refused(format!("{} is not true or false", self.what)))?;
        Ok(match truth.nulls() {
            None => truth.clone(),
            Some(nulls) => BooleanArray::from(truth.values() & nulls.inner()),
        })
    }
}

/// Whether a filter compares columns with one another and with constants, and no more: its value
/// can be computed for every row, also for those that another part of the query leaves out.
pub(super) fn only_compares(filter: &Expr) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    match filter {
        Expr::Column(_) | Expr::Literal(..) => true,
        Expr::BinaryExpr(binary) => {
            let compares = matches!(
                binary.op,
                And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
            );
            compares && only_compares(&binary.left) && only_compares(&binary.right)
        }
        Expr::Not(inner) | Expr::IsNull(inner) | Expr::IsNotNull(inner) => only_compares(inner),
        Expr::Between(between) => [&between.expr, &between.low, &between.high]
            .into_iter()
            .all(|part| only_compares(part)),
        Expr::InList(list) => only_compares(&list.expr) && list.list.iter().all(only_compares),
        _ => false,
    }
}

/// Whether a filter has a list, in which a value of a dictionary is not looked for.
fn has_list(filter: &Expr) -> bool {
    let found = filter.exists(|part| Ok(matches!(part, Expr::InList(_))));
    found.unwrap_or(true)
}

/// Statistics of row groups as DataFusion asks for them.
struct Statistics<'a> {
    groups: &'a GroupStatistics<'a>,
    schema: &'a SchemaRef,
}

impl Statistics<'_> {
    /// Values in the type that the condition was read with; nothing of floats, and nothing that a
    /// declared type puts in another order.
    fn of(&self, column: &Column, values: impl Fn(&str) -> Option<ArrayRef>) -> Option<ArrayRef> {
        let wanted = self.schema.field_with_name(&column.name).ok()?.data_type();
        let own = self
            .groups
            .schema()
            .field_with_name(&column.name)
            .ok()?
            .data_type();
        // The least text is not the least number: only a type that widens keeps its order.
        let keeps_order = own == wanted || widen(own, wanted).as_ref() == Some(wanted);
        if own.is_floating() || !keeps_order {
            return None;
        }
        cast_exactly(&values(&column.name)?, wanted, &column.name).ok()
    }
}

impl PruningStatistics for Statistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |name| self.groups.mins(name))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(column, |name| self.groups.maxes(name))
    }

    fn num_containers(&self) -> usize {
        self.groups.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.groups.null_counts(&column.name)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(self.groups.row_counts())
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
