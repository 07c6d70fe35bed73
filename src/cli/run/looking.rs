//! The commands that look at tables and jobs: show, diff, describe, history, status and report.

use super::super::args::{DescribeArgs, DiffArgs, HistoryArgs, ReportArgs, ShowArgs, StatusArgs};
use super::super::render::{ReportedLake, StatusPage, page, render};
use super::{CommandRun, NOT_UP_TO_DATE, PAGE};
use crate::commands::Progress;
use crate::commands::describe::{DescribeOptions, describe};
use crate::commands::diff::{DiffOptions, diff};
use crate::commands::history::{HistoryOptions, history};
use crate::commands::job_status::{JobStatus, job_status};
use crate::commands::latest::latest_refused;
use crate::commands::report::{LakeReportOptions, page_target, report, write_page};
use crate::commands::show::{ShowOptions, show};
use crate::commands::status::{TableStatus, status};
use crate::error::Result;
use crate::model::{DateRange, Day};

impl CommandRun<'_> {
    pub(super) fn show(&self, args: ShowArgs) -> Result<()> {
        let date = match self.unless_latest(args.day.or(args.date)) {
            None if args.refused => Some(latest_refused(self.workspace, &args.table)?),
            date => date,
        };
        let options = ShowOptions {
            table: args.table,
            date,
            refused: args.refused,
            known_at: self.known_at(args.known_at)?,
            condition: args.condition,
            select: args.select,
            out: args.out,
            limit: args.limit,
        };
        render(self.printer, &show(self.workspace, &options)?)
    }

    pub(super) fn diff(&self, args: DiffArgs) -> Result<()> {
        let (from, to) = match (args.day, args.later.or(args.refused)) {
            (Some(from), Some(to)) => (Some(from), Some(to)),
            (None, Some(to)) => (args.from, Some(to)),
            (Some(to), None) => (None, Some(to)),
            _ => (args.from, args.to),
        };
        let to = match args.refused {
            Some(day) => self.on_or_latest(day, &args.table, latest_refused)?,
            None => self.on(to.unwrap_or(Day::Latest)),
        };
        let options = DiffOptions {
            table: args.table,
            from: from.map(|day| self.on(day)),
            to,
            known_at: self.known_at(args.known_at)?,
            to_refused: args.refused.is_some(),
            limit: if args.summary { 0 } else { args.limit },
            summary: args.summary,
            columns: args.columns,
            top: args.top,
            out: args.out,
        };
        render(self.printer, &diff(self.workspace, &options)?)
    }

    pub(super) fn describe(&self, args: DescribeArgs) -> Result<()> {
        let options = DescribeOptions {
            date: self.unless_latest(args.day.or(args.date)),
            table: args.table,
            columns: args.columns,
            top: args.top,
        };
        render(self.printer, &describe(self.workspace, &options)?)
    }

    pub(super) fn history(&self, args: HistoryArgs) -> Result<()> {
        let options = HistoryOptions {
            table: args.table,
            key: args.key,
            out: args.out,
        };
        render(self.printer, &history(self.workspace, &options)?)
    }

    pub(super) fn status(&self, args: &StatusArgs) -> Result<u8> {
        let workspace = self.workspace;
        let configured = &workspace.config.jobs;
        let (jobs, tables) = match &args.name {
            Some(job) if configured.contains_key(job) => (vec![job.clone()], None),
            Some(table) => (Vec::new(), Some(vec![table.clone()])),
            None => (configured.keys().cloned().collect(), Some(Vec::new())),
        };
        let from = args.from.map(|day| self.on(day));
        let to = args.to.map(|day| self.on(day));
        if let (Some(from), Some(to)) = (from, to) {
            DateRange::new(from, to)?;
        }
        let is_job_alone = tables.is_none();
        let tables = tables.map(|names| status(workspace, &names)).transpose()?;
        let mut page = StatusPage {
            tables: tables.map(|report| report.tables).unwrap_or_default(),
            jobs: Vec::new(),
            is_of_one: args.name.is_some(),
            today: workspace.clock.today(),
        };
        for name in &jobs {
            match job_status(workspace, name, from, to) {
                Ok(job) => page.jobs.push(job),
                Err(error) if is_job_alone => return Err(error),
                // The others, and the tables, can be looked at all the same.
                Err(error) => self
                    .printer
                    .note(&error.within(format!("job {name}")).to_string()),
            }
        }
        self.metrics.jobs(&page.jobs);
        render(self.printer, &page)?;
        let is_up_to_date = page.tables.iter().all(TableStatus::is_up_to_date)
            && page.jobs.iter().all(JobStatus::is_up_to_date);
        Ok(if args.exit_code && !is_up_to_date {
            NOT_UP_TO_DATE
        } else {
            0
        })
    }

    pub(super) fn report(&self, args: ReportArgs) -> Result<u8> {
        let out = match args.out {
            None if self.printer.json => None,
            out => Some(out.unwrap_or_else(|| PAGE.to_owned())),
        };
        let target = out
            .map(|out| page_target(self.workspace, &out))
            .transpose()?;
        let report = report(self.workspace, &LakeReportOptions { names: args.names })?;
        let mut reported = ReportedLake {
            report,
            written: None,
        };
        if let Some(target) = target {
            let page = page(&reported.report)?;
            write_page(self.workspace, &target, &page)?;
            reported.written = Some((self.workspace.shown(&target), page.len() as u64));
        }
        render(self.printer, &reported)?;
        Ok(match args.exit_code && !reported.report.is_up_to_date {
            true => NOT_UP_TO_DATE,
            false => 0,
        })
    }
}
