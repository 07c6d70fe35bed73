//! The plan of a pass: the table's columns, what is decoded of which snapshot, and the ranges of
//! keys.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};

use super::decode::{RangedObject, RowShape};
use super::open::OpenedSnapshot;
use super::ranges::{Boundaries, SortedObject, cut};
use super::skipping::{PlannedSnapshot, find_edits, which_are_read};
use crate::domain::digest::Fingerprint;
use crate::domain::schema::by_name;
use crate::engine::compaction::facts::CompactionFacts;
use crate::engine::compaction::observer::SnapshotObserver;
use crate::engine::compaction::pass::{Base, Pass};
use crate::engine::units::{UnitSource, settle};
use crate::error::Result;
use crate::storage::parquet::footer::ObservedWire;
use crate::storage::parquet::object::ParquetObject;

/// What a pass over sorted snapshots does; see the module.
pub(super) struct PassPlan<'a> {
    pub(super) snapshots: Vec<PlannedSnapshot>,
    /// The intervals that are reused, and the rows at which ranges begin in them.
    pub(super) base: Option<(&'a Base, Vec<u64>)>,
    pub(super) boundaries: Boundaries,
    pub(super) shape: Arc<RowShape>,
    /// Every column of the snapshots.
    pub(super) every: SchemaRef,
    /// Whether fingerprints that no footer tells are worked out from the rows that changed: all
    /// columns are compared.
    pub(super) sums_by_changes: bool,
    /// What is known before a row is read.
    pub(super) facts: CompactionFacts,
}

impl<'a> PassPlan<'a> {
    /// Plans a pass over opened snapshots; nothing, if they cannot be read by ranges of the key.
    pub(super) fn new(pass: &Pass<'a>, opened: Vec<OpenedSnapshot>) -> Result<Option<Self>> {
        let observer = observe(pass, &opened)?;
        let Some(table_schema) = observer.schema.clone() else {
            return Ok(None);
        };
        let wide = settled(pass, &pass.kept(&table_schema), &opened)?;
        if key_fields(pass, &wide).any(|field| field.is_some_and(|it| it.data_type().is_nested())) {
            return Ok(None);
        }
        let shape = Arc::new(shape_of(pass, &wide));
        let (mut snapshots, objects) = planned(pass, &shape, opened)?;
        find_edits(pass, &shape, &mut snapshots)?;
        let sorted = sorted_objects(pass, &snapshots, objects, &wide)?;
        let base = sorted_base(pass, &wide)?;
        // Keys that are not kept may be of a wider type than those that are.
        if pass.base.is_some_and(|base| {
            !base.is_whole()
                && !key_fields(pass, &base.intervals.table_schema()).eq(key_fields(pass, &wide))
        }) {
            return Ok(None);
        }
        let all: Vec<Arc<SortedObject>> = base
            .iter()
            .chain(sorted.iter().flatten())
            .cloned()
            .collect();
        let Some((boundaries, cuts)) = cut(pass, &all)? else {
            return Ok(None);
        };
        let mut cuts = cuts.into_iter();
        let base = pass.base.zip(base.and_then(|_| cuts.next()));
        for (snapshot, sorted) in snapshots.iter_mut().zip(sorted) {
            snapshot.source = sorted.and_then(|sorted| {
                Some(Arc::new(RangedObject {
                    sorted,
                    cuts: cuts.next()?,
                }))
            });
            if let Some(edits) = &mut snapshot.edits {
                edits.cut(&boundaries)?;
            }
        }
        let sums_by_changes = pass.part.is_none()
            && snapshots.iter().any(|snapshot| snapshot.known.is_none())
            && pass.settings.comparison.covers_all();
        Ok(Some(PassPlan {
            snapshots,
            base,
            boundaries,
            shape,
            every: observer.every.unwrap_or(wide),
            sums_by_changes,
            facts: observer.facts,
        }))
    }
}

/// What the footers tell of the snapshots.
pub(in crate::engine::compaction) fn observe<'p>(
    pass: &'p Pass<'_>,
    opened: &[OpenedSnapshot],
) -> Result<SnapshotObserver<'p>> {
    let mut observer = SnapshotObserver::new(pass)?;
    for snapshot in opened {
        let (fingerprint, stored) = match (snapshot.known, snapshot.stored) {
            (Some(fingerprint), _) => (fingerprint, None),
            (None, stored) => (Fingerprint(0), stored),
        };
        let observed = ObservedWire {
            date: snapshot.date,
            rows: snapshot.object.rows(),
            fingerprint,
            stored,
            schema: 0,
            dropped_rows: 0,
            proven: None,
            pruned_bytes: None,
        };
        observer.saw(observed, &snapshot.schema)?;
    }
    Ok(observer)
}

/// The columns of the result in units that hold the values of all snapshots.
pub(in crate::engine::compaction) fn settled(
    pass: &Pass<'_>,
    kept: &SchemaRef,
    opened: &[OpenedSnapshot],
) -> Result<SchemaRef> {
    let base = pass
        .base
        .map(|base| UnitSource::of_intervals(&base.intervals, base.last()));
    let snapshots = opened
        .iter()
        .map(|snapshot| UnitSource::of_object(snapshot.date, &snapshot.schema, &snapshot.object));
    let sources: Vec<_> = base.into_iter().chain(snapshots).collect();
    settle(&pass.table.name, kept, &sources)
}

/// The fields of the key, each as a schema has it.
fn key_fields<'s>(pass: &'s Pass<'_>, schema: &Schema) -> impl Iterator<Item = Option<Field>> + 's {
    let fields: Vec<Option<Field>> = pass
        .settings
        .comparison
        .key
        .iter()
        .map(|key| schema.field_with_name(key).ok().cloned())
        .collect();
    fields.into_iter()
}

/// What threads need to know to decode.
fn shape_of(pass: &Pass<'_>, wide: &SchemaRef) -> RowShape {
    let comparison = &pass.settings.comparison;
    let is_compared = |name: &String| comparison.covers(name) && !comparison.key.contains(name);
    RowShape {
        table: pass.table.clone(),
        wide: wide.clone(),
        part: pass.part.cloned(),
        compared: (0..wide.fields().len())
            .filter(|at| is_compared(wide.field(*at).name()))
            .collect(),
    }
}

/// The snapshots of which nothing but their footers is known yet, and their objects.
fn planned(
    pass: &Pass<'_>,
    shape: &RowShape,
    opened: Vec<OpenedSnapshot>,
) -> Result<(Vec<PlannedSnapshot>, Vec<ParquetObject>)> {
    let mut before = pass
        .base
        .map(|base| base.intervals.schema_of(base.kept - 1))
        .transpose()?;
    let has = |fields: &HashMap<&str, &FieldRef>, compared: usize| {
        let name = shape.wide.field(shape.compared[compared]).name();
        fields.contains_key(name.as_str())
    };
    let planned = opened.into_iter().map(|snapshot| {
        let schema = snapshot.schema;
        let appeared = match &before {
            Some(before) if before == &schema => Vec::new(),
            Some(before) => {
                let (now, before) = (by_name(&schema), by_name(before));
                (0..shape.compared.len())
                    .filter(|at| has(&now, *at) && !has(&before, *at))
                    .collect()
            }
            None => Vec::new(),
        };
        let is_looked_at = pass.observes_part() && before.as_ref() != Some(&schema);
        before = Some(schema.clone());
        let planned = PlannedSnapshot {
            date: snapshot.date,
            rows: snapshot.object.rows(),
            known: snapshot.known,
            schema,
            appeared,
            is_looked_at,
            edits: None,
            source: None,
        };
        (planned, snapshot.object)
    });
    Ok(planned.unzip())
}

/// The objects of the snapshots that are decoded.
fn sorted_objects(
    pass: &Pass<'_>,
    snapshots: &[PlannedSnapshot],
    objects: Vec<ParquetObject>,
    wide: &SchemaRef,
) -> Result<Vec<Option<Arc<SortedObject>>>> {
    let key = &pass.settings.comparison.key;
    snapshots
        .iter()
        .zip(objects)
        .zip(which_are_read(pass, snapshots))
        .map(|((snapshot, object), is_read)| {
            let sorted = || SortedObject::new(Arc::new(object), key, &snapshot.schema, wide, true);
            Ok(is_read.then(sorted).transpose()?.map(Arc::new))
        })
        .collect()
}

/// The object of the intervals that are reused, if there are any.
fn sorted_base(pass: &Pass<'_>, wide: &SchemaRef) -> Result<Option<Arc<SortedObject>>> {
    let Some(base) = pass.base else {
        return Ok(None);
    };
    let object = base.intervals.object().clone();
    let own = base.intervals.table_schema();
    let key = &pass.settings.comparison.key;
    SortedObject::new(object, key, &own, wide, false).map(|sorted| Some(Arc::new(sorted)))
}
