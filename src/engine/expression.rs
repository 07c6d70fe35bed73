//! Conditions over a table's columns: what `--where` says, in every command alike.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};

/// A condition, ready for batches of one schema.
pub struct Condition {
    #[cfg(feature = "sql")]
    expression: std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>,
    text: String,
}

impl Condition {
    /// Reads a SQL expression over the columns of `schema`.
    ///
    /// # Errors
    /// A usage error that says what is wrong with it: syntax, an unknown column, a type that is not
    /// a truth value, a function whose value is not the same on every run.
    #[cfg(feature = "sql")]
    pub fn parse(text: &str, schema: &SchemaRef) -> Result<Self> {
        use datafusion::common::DFSchema;
        use datafusion::prelude::SessionContext;

        let wrong = |error: datafusion::error::DataFusionError| super::sql::wrong(&error, &format!("--where \"{text}\""));
        let context = SessionContext::new();
        let columns = DFSchema::try_from(schema.as_ref().clone()).map_err(wrong)?;
        let expression = context.parse_sql_expr(text, &columns).map_err(wrong)?;
        super::sql::check_stable(&expression).map_err(|error| error.within(format!("--where \"{text}\"")))?;
        if super::sql::has_subquery(&expression) {
            return Err(Error::usage(format!("--where \"{text}\": a condition over a table's columns can hold no query"))
                .hint("write the job in SQL: --sql FILE, or sql = \"...\" in asof.toml"));
        }
        let expression = context.create_physical_expr(expression, &columns).map_err(wrong)?;
        let data_type = expression.data_type(schema).map_err(wrong)?;
        if data_type != arrow::datatypes::DataType::Boolean {
            return Err(Error::usage(format!(
                "--where \"{text}\" is {}, and not true or false",
                crate::domain::schema::type_name(&data_type)
            )));
        }
        Ok(Condition { expression, text: text.to_owned() })
    }

    /// Refused: this program was built without the feature `sql`.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "sql"))]
    pub fn parse(text: &str, _schema: &SchemaRef) -> Result<Self> {
        Err(Error::usage(format!("--where \"{text}\": this asof was built without SQL")).hint("cargo install asof --features sql"))
    }

    /// Which rows it holds for; a condition that is null does not hold.
    ///
    /// # Errors
    /// A refusal if a value cannot be computed, such as a division by zero.
    pub fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        #[cfg(feature = "sql")]
        {
            use arrow::array::AsArray;
            let wrong = |error| super::sql::wrong(&error, &format!("--where \"{}\"", self.text));
            let value = self.expression.evaluate(batch).and_then(|value| value.into_array(batch.num_rows())).map_err(wrong)?;
            let truth = value.as_boolean_opt().ok_or_else(|| Error::refused(format!("--where \"{}\" is no truth value", self.text)))?;
            Ok(truth.iter().map(|value| Some(value == Some(true))).collect())
        }
        #[cfg(not(feature = "sql"))]
        {
            Err(Error::usage(format!("--where \"{}\": this asof was built without SQL, for {} rows", self.text, batch.num_rows())))
        }
    }
}

/// The columns that a condition names, of those in `schema`.
///
/// # Errors
/// As [`Condition::parse`].
pub fn columns_of(text: &str, schema: &SchemaRef) -> Result<Vec<String>> {
    Condition::parse(text, schema)?;
    #[cfg(feature = "sql")]
    {
        let columns = datafusion::common::DFSchema::try_from(schema.as_ref().clone()).map_err(|error| Error::io(error.to_string()))?;
        let expression = datafusion::prelude::SessionContext::new()
            .parse_sql_expr(text, &columns)
            .map_err(|error| super::sql::wrong(&error, "--where"))?;
        Ok(expression.column_refs().into_iter().map(|column| column.name.clone()).collect())
    }
    #[cfg(not(feature = "sql"))]
    Ok(Vec::new())
}
