//! The plot of a pipeline: mean time by the days in the range, both by powers of ten.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::lake::PIPELINES;
use crate::report::{LISTING, NAMES};
use crate::{Cell, DAYS, YEARS};

type Result = std::result::Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Told apart by those who see few colours, too.
const COLOURS: [RGBColor; 3] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 140, 100),
];
/// The plot with its axes, and what stands to its right.
const WIDTHS: (u32, u32) = (660, 180);
const HEIGHT: u32 = 440;
const FONT: &str = "sans-serif";

/// One line of the plot. Only listing depends on the age of the lake; the others have one line.
struct Series {
    name: String,
    strategy: usize,
    years: u32,
    style: ShapeStyle,
}

impl Series {
    /// How large its points are: of those in one place, each is seen around the one drawn after it.
    fn point(&self) -> u32 {
        [3, 5, 7][self.strategy]
    }
}

/// The lines, in the order of the legend.
fn series() -> Vec<Series> {
    let oldest = YEARS[YEARS.len() - 1];
    let mut series = Vec::new();
    for (strategy, name) in NAMES.iter().enumerate() {
        for years in YEARS
            .into_iter()
            .rev()
            .filter(|years| strategy == LISTING || *years == oldest)
        {
            let name = if strategy == LISTING {
                format!("{name}, {years} y")
            } else {
                (*name).to_owned()
            };
            let opacity = 0.25 + 0.75 * f64::from(years) / f64::from(oldest);
            series.push(Series {
                name,
                strategy,
                years,
                style: COLOURS[strategy].mix(opacity).stroke_width(2),
            });
        }
    }
    series
}

/// Draws the plot of a pipeline into a file.
pub(crate) fn draw(path: &Path, pipeline: usize, cells: &[Cell]) -> Result {
    let root = SVGBackend::new(path, (WIDTHS.0 + WIDTHS.1, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(WIDTHS.0);
    let cells: Vec<&Cell> = cells
        .iter()
        .filter(|cell| cell.pipeline == pipeline)
        .collect();
    draw_lines(&left, PIPELINES[pipeline].name, &cells)?;
    draw_legend(&right)?;
    root.present()?;
    Ok(())
}

fn draw_lines(area: &Area<'_>, pipeline: &str, cells: &[&Cell]) -> Result {
    let longest = cells
        .iter()
        .flat_map(|cell| &cell.strategies)
        .map(|runs| seconds(runs.mean()))
        .fold(0.0, f64::max);
    let days = DAYS[0] as f64..DAYS[DAYS.len() - 1] as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(
            format!("Pipeline {pipeline}: mean time to find the objects of a range"),
            (FONT, 17),
        )
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(66)
        .build_cartesian_2d(
            (days.start * 0.9..days.end * 1.15)
                .log_scale()
                .with_key_points(DAYS.map(|days| days as f64).to_vec()),
            (0.01..10f64.powf(longest.log10().ceil())).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("days in the range")
        .y_desc("seconds")
        .x_label_formatter(&|days| format!("{days:.0}"))
        .y_label_formatter(&|seconds| format!("{seconds}"))
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 15))
        .draw()?;
    for series in series().into_iter().rev() {
        let of_lake = cells.iter().filter(|cell| cell.years == series.years);
        let points: Vec<(f64, f64)> = of_lake
            .map(|cell| {
                (
                    cell.days as f64,
                    seconds(cell.strategies[series.strategy].mean()),
                )
            })
            .collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), series.style))?;
        chart.draw_series(
            points
                .iter()
                .map(|point| Circle::new(*point, series.point(), series.style.filled())),
        )?;
    }
    Ok(())
}

fn draw_legend(area: &Area<'_>) -> Result {
    for (row, series) in (0..).zip(series()) {
        let y = 60 + 26 * row;
        area.draw(&PathElement::new([(4, y), (34, y)], series.style))?;
        area.draw(&Circle::new((19, y), series.point(), series.style.filled()))?;
        area.draw(&Text::new(series.name, (44, y - 8), (FONT, 15)))?;
    }
    Ok(())
}

fn seconds(micros: f64) -> f64 {
    micros / 1e6
}
