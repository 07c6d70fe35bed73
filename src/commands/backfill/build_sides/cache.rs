//! [`BuildSides`]: each build side is built once for a window of dates, and let go when the last of
//! them is done.
//!
//! A window is the next dates that are to be run whose tables come from the same place and have the
//! columns of the join in the same types. It is as long as the [`BuildWindow`] says, or shorter if
//! its build side would be more than a quarter of the memory that may be used: two windows are
//! there at a time while dates of one are finished and the next one is built, and building takes
//! more than what is built. The build side of one date is built however large it is.
//!
//! A window is in one of three states. It is *planned*: it has dates and no build side, and the
//! first thread that asks for it builds it. It is *built*, and serves its dates. When the last of
//! its dates is finished it is *gone*, and its memory with it. A window that turns out too large is
//! cut to its first half; a window whose building fails is cut to its first date, since the failure
//! may be that of one date, and so falls on it alone. The dates that are cut off are planned anew.
//!
//! Memory: two build sides, or, where so few dates fit one that workers are at more of them at a
//! time, as many as workers; whatever the length of the range.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use tracing::{debug, info};

use crate::error::Result;

/// Which dates a build side can serve, and how it is built.
pub(in crate::commands::backfill) trait BuildWindow {
    /// What a date needs of the table.
    type Need;
    /// What serves the dates of a window.
    type Side;

    /// What a date needs.
    ///
    /// # Errors
    /// A refusal if no snapshot serves it; a usage error for columns that its table does not have.
    fn need(&self, date: NaiveDate) -> Result<Self::Need>;

    /// Whether what the date needs is known before it is its turn.
    fn is_planned(&self, date: NaiveDate) -> bool;

    /// Those of the next `most` dates, from this one on, that the build side of this one can serve.
    fn window(&self, date: NaiveDate, need: &Self::Need, most: usize) -> Vec<NaiveDate>;

    /// Builds the build side of dates that agree with `need`; `None` if it is too large for more
    /// than one.
    ///
    /// # Errors
    /// A failure or refusal of reading the table.
    fn build(&self, dates: &BTreeSet<NaiveDate>, need: &Self::Need) -> Result<Option<Self::Side>>;
}

/// The build sides of a job's dates.
pub(in crate::commands::backfill) struct BuildSides<B: BuildWindow> {
    builder: B,
    state: Mutex<CacheState<B::Side>>,
}

/// A build side, once it is built. Its lock is held while it is built.
type Slot<S> = Arc<Mutex<Option<Arc<S>>>>;

/// Dates that are still to be served, and the build side that serves them.
struct Window<S> {
    dates: BTreeSet<NaiveDate>,
    slot: Slot<S>,
}

struct CacheState<S> {
    windows: Vec<Window<S>>,
    /// The most dates that were found to do with the memory.
    most: usize,
    /// Up to this date each is served alone.
    alone_until: Option<NaiveDate>,
    /// Dates that need nothing any more.
    finished: BTreeSet<NaiveDate>,
}

/// Why a window is cut.
enum Cut {
    /// Its build side is too large.
    TooLarge,
    /// Building it failed.
    Failed,
}

impl<S> CacheState<S> {
    fn window_of(&self, date: NaiveDate) -> Option<&Window<S>> {
        self.windows
            .iter()
            .find(|window| window.dates.contains(&date))
    }

    fn is_alone(&self, date: NaiveDate) -> bool {
        self.alone_until.is_some_and(|until| date <= until)
    }

    /// How many dates a new window may have that begins with this one.
    fn reach(&self, date: NaiveDate) -> usize {
        if self.is_alone(date) { 1 } else { self.most }
    }

    /// Whether the build side of a date may be built before it is its turn: there is memory for
    /// one that is not in use yet, and the date still needs it.
    fn may_prepare(&self, date: NaiveDate) -> bool {
        let has_room = self.windows.len() <= 1 || self.window_of(date).is_some();
        has_room && self.reach(date) > 1 && !self.finished.contains(&date)
    }

    fn cut(&mut self, slot: &Slot<S>, why: &Cut) {
        let Some(window) = self
            .windows
            .iter_mut()
            .find(|window| Arc::ptr_eq(slot, &window.slot))
        else {
            return;
        };
        let dates = match why {
            Cut::TooLarge => {
                let half = (window.dates.len() / 2).max(1);
                self.most = self.most.min(half);
                half
            }
            Cut::Failed => {
                self.alone_until = window.dates.last().copied();
                1
            }
        };
        window.dates = std::mem::take(&mut window.dates)
            .into_iter()
            .take(dates)
            .collect();
    }
}

impl<B: BuildWindow> BuildSides<B> {
    /// No build side is built yet.
    pub(super) fn new(builder: B) -> Self {
        let state = Mutex::new(CacheState {
            windows: Vec::new(),
            most: usize::MAX,
            alone_until: None,
            finished: BTreeSet::new(),
        });
        BuildSides { builder, state }
    }

    /// What a date needs.
    ///
    /// # Errors
    /// See [`BuildWindow::need`].
    pub(in crate::commands::backfill) fn need(&self, date: NaiveDate) -> Result<B::Need> {
        self.builder.need(date)
    }

    /// The build side of a date, which is built now if it is not there.
    ///
    /// # Errors
    /// See [`BuildWindow::build`].
    pub(in crate::commands::backfill) fn side(
        &self,
        date: NaiveDate,
        need: &B::Need,
    ) -> Result<Arc<B::Side>> {
        loop {
            let slot = self.slot(date, need);
            let mut built = locked(&slot);
            // Another thread may have cut the window while this one waited.
            let Some(dates) = self.dates_of(&slot).filter(|dates| dates.contains(&date)) else {
                continue;
            };
            if let Some(side) = built.as_ref() {
                return Ok(side.clone());
            }
            match self.builder.build(&dates, need) {
                Ok(Some(side)) => return Ok(built.insert(Arc::new(side)).clone()),
                Ok(None) => {
                    let dates = dates.len();
                    info!(%date, dates, "a build side is too large; it will serve half the dates");
                    self.state().cut(&slot, &Cut::TooLarge);
                }
                Err(error) if dates.len() > 1 => {
                    let dates = dates.len();
                    debug!(%date, dates, %error, "a build side failed; each date is tried alone");
                    self.state().cut(&slot, &Cut::Failed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Builds the build side that a later date needs, so that it is there when that date comes;
    /// first that of `date` itself.
    pub(in crate::commands::backfill) fn prepare(&self, date: NaiveDate, later: NaiveDate) {
        if !self.state().may_prepare(later) {
            return;
        }
        for date in [date, later] {
            // A failure comes again when the date does.
            if self.builder.is_planned(date)
                && let Ok(need) = self.need(date)
                && self.side(date, &need).is_err()
            {
                return;
            }
        }
    }

    /// Lets go of what only this date needed.
    pub(in crate::commands::backfill) fn finished(&self, date: NaiveDate) {
        let mut state = self.state();
        state.finished.insert(date);
        state.windows.retain_mut(|window| {
            window.dates.remove(&date);
            !window.dates.is_empty()
        });
    }

    /// The slot of the window that serves a date; that of a new window, for as many dates from
    /// this one as it can be, if there is none.
    fn slot(&self, date: NaiveDate, need: &B::Need) -> Slot<B::Side> {
        let mut state = self.state();
        if let Some(window) = state.window_of(date) {
            return window.slot.clone();
        }
        let dates = self
            .builder
            .window(date, need, state.reach(date))
            .into_iter()
            .filter(|date| !state.finished.contains(date) && state.window_of(*date).is_none())
            .chain([date])
            .collect();
        let slot = Slot::default();
        state.windows.push(Window {
            dates,
            slot: slot.clone(),
        });
        slot
    }

    /// The dates that the build side in a slot is for; `None` once it is gone.
    fn dates_of(&self, slot: &Slot<B::Side>) -> Option<BTreeSet<NaiveDate>> {
        self.state()
            .windows
            .iter()
            .find(|window| Arc::ptr_eq(slot, &window.slot))
            .map(|window| window.dates.clone())
    }

    fn state(&self) -> MutexGuard<'_, CacheState<B::Side>> {
        locked(&self.state)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::thread;

    use super::*;
    use crate::error::Error;

    /// Builds the list of dates that a window has, and remembers it.
    #[derive(Default)]
    struct Lists {
        days: u32,
        /// The most dates of a build side that is not too large.
        fits: Option<usize>,
        /// A day that fails each build side it is in.
        fails: Option<u32>,
        built: Mutex<Vec<BTreeSet<NaiveDate>>>,
    }

    impl BuildWindow for Lists {
        type Need = ();
        type Side = BTreeSet<NaiveDate>;

        fn need(&self, _: NaiveDate) -> Result<()> {
            Ok(())
        }

        fn is_planned(&self, date: NaiveDate) -> bool {
            (1..=self.days).any(|of_month| day(of_month) == date)
        }

        fn window(&self, date: NaiveDate, (): &(), most: usize) -> Vec<NaiveDate> {
            let days = (1..=self.days).map(day);
            days.filter(|day| *day >= date).take(most.min(4)).collect()
        }

        fn build(&self, dates: &BTreeSet<NaiveDate>, (): &()) -> Result<Option<Self::Side>> {
            locked(&self.built).push(dates.clone());
            if self.fails.is_some_and(|fails| dates.contains(&day(fails))) {
                return Err(Error::refused("a duplicate key"));
            }
            let is_too_large = dates.len() > 1 && self.fits.is_some_and(|fits| dates.len() > fits);
            Ok((!is_too_large).then(|| dates.clone()))
        }
    }

    fn day(of_month: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 1, of_month).expect("a date")
    }

    fn sides(lists: Lists) -> BuildSides<Lists> {
        BuildSides::new(lists)
    }

    /// The days of each build side, in the order of building.
    fn built(sides: &BuildSides<Lists>) -> Vec<Vec<u32>> {
        use chrono::Datelike;
        locked(&sides.builder.built)
            .iter()
            .map(|dates| dates.iter().map(NaiveDate::day).collect())
            .collect()
    }

    fn run(sides: &BuildSides<Lists>, of_month: u32) -> Result<()> {
        let served = sides.side(day(of_month), &())?;
        assert!(served.contains(&day(of_month)), "a side of other dates");
        sides.finished(day(of_month));
        Ok(())
    }

    #[test]
    fn the_dates_of_a_window_share_a_build_side() {
        let sides = sides(Lists {
            days: 6,
            ..Lists::default()
        });
        for of_month in 1..=6 {
            run(&sides, of_month).expect("served");
        }
        assert_eq!(built(&sides), [vec![1, 2, 3, 4], vec![5, 6]]);
    }

    #[test]
    fn a_date_that_is_not_planned_is_served_alone() {
        let sides = sides(Lists::default());
        run(&sides, 9).expect("served");
        assert_eq!(built(&sides), [[9]]);
    }

    #[test]
    fn a_window_that_is_too_large_is_cut_in_half_and_so_are_those_after_it() {
        let sides = sides(Lists {
            days: 6,
            fits: Some(2),
            ..Lists::default()
        });
        for of_month in 1..=6 {
            run(&sides, of_month).expect("served");
        }
        let expected = [vec![1, 2, 3, 4], vec![1, 2], vec![3, 4], vec![5, 6]];
        assert_eq!(built(&sides), expected);
    }

    #[test]
    fn one_date_is_built_however_large_it_is() {
        let sides = sides(Lists {
            days: 2,
            fits: Some(0),
            ..Lists::default()
        });
        for of_month in 1..=2 {
            run(&sides, of_month).expect("served");
        }
        assert_eq!(built(&sides), [vec![1, 2], vec![1], vec![2]]);
    }

    #[test]
    fn a_failure_falls_on_its_own_date() {
        let sides = sides(Lists {
            days: 8,
            fails: Some(3),
            ..Lists::default()
        });
        let failed: Vec<u32> = (1..=8)
            .filter(|of_month| run(&sides, *of_month).is_err())
            .collect();
        assert_eq!(failed, [3]);
        let expected = [
            vec![1, 2, 3, 4],
            vec![1],
            vec![2],
            vec![3],
            vec![4],
            vec![5, 6, 7, 8],
        ];
        assert_eq!(built(&sides), expected);
    }

    #[test]
    fn a_build_side_is_gone_once_its_last_date_is_finished() {
        let sides = sides(Lists {
            days: 2,
            ..Lists::default()
        });
        let held: Weak<_> = Arc::downgrade(&sides.side(day(1), &()).expect("built"));
        sides.finished(day(1));
        assert!(held.upgrade().is_some(), "gone while a date needs it");
        sides.finished(day(2));
        assert!(held.upgrade().is_none(), "held for no date");
    }

    #[test]
    fn preparing_builds_the_next_window_and_no_third_one() {
        let sides = sides(Lists {
            days: 12,
            ..Lists::default()
        });
        sides.prepare(day(1), day(5));
        sides.prepare(day(5), day(9));
        assert_eq!(built(&sides), [vec![1, 2, 3, 4], vec![5, 6, 7, 8]]);
    }

    #[test]
    fn a_date_that_is_finished_is_not_prepared() {
        let sides = sides(Lists {
            days: 2,
            ..Lists::default()
        });
        sides.finished(day(2));
        sides.prepare(day(1), day(2));
        assert_eq!(built(&sides), [[0u32; 0]; 0]);
    }

    #[test]
    fn threads_that_ask_at_once_wait_for_one_build() {
        let sides = sides(Lists {
            days: 4,
            ..Lists::default()
        });
        thread::scope(|scope| {
            for of_month in 1..=4 {
                let sides = &sides;
                scope.spawn(move || run(sides, of_month).expect("served"));
            }
        });
        let mut dates: Vec<u32> = built(&sides).concat();
        dates.sort_unstable();
        assert_eq!(dates, [1, 2, 3, 4]);
    }
}
