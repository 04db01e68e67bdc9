//! The picture: crash, promotion, change of DNS, and what each client saw over time.

use std::fmt::Write as _;

use tokio::time::Instant;

use crate::demo::Incident;
use crate::demo::workload::Log;

const WIDTH: f64 = 1280.0;
const HEIGHT: f64 = 620.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 40.0;
/// Successes closer together than this are one bar.
const JOINED_MS: f64 = 60.0;

const INK: &str = "#1f2933";
const MUTED: &str = "#7b8794";
const OK: &str = "#2f9e6e";
const BAD: &str = "#d64545";
const GRID: &str = "#e4e7eb";

/// One time axis: from `from` to `to` in ms, drawn between `LEFT` and the right margin.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn x(&self, ms: f64) -> f64 {
        LEFT + (ms.clamp(self.from, self.to) - self.from) / (self.to - self.from) * (WIDTH - LEFT - RIGHT)
    }

    fn shows(&self, ms: f64) -> bool {
        (self.from..=self.to).contains(&ms)
    }

    /// Round steps that give about ten of them.
    fn step(&self) -> f64 {
        let rough = (self.to - self.from) / 10.0;
        let power = 10_f64.powf(rough.log10().floor());
        [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * power)
            .find(|step| *step >= rough)
            .unwrap_or(power * 10.0)
    }
}

/// Draws one incident as SVG: the whole outage above, the moments around the promotion below.
pub fn draw(incident: &Incident) -> String {
    let at = |instant: Instant| offset_ms(incident, instant);
    let writable = at(incident.writable);
    let dns = at(incident.dns_changed);
    let whole = Axis { from: -800.0, to: dns + 1500.0 };
    let zoom = Axis { from: writable - 60.0, to: writable + 120.0 };

    let mut svg = String::new();
    let _ = write!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, DejaVu Sans, sans-serif">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
"#
    );
    text(&mut svg, 40.0, 44.0, 24, INK, "start", "The writer dies. Who writes on, and when?");
    let subtitle = format!(
        "Three {} instances, a row every 2 ms; crash at 0 s, a reader is promoted and writable {:.2} s later, the \
         cluster's name follows after {:.1} s",
        incident.server,
        writable / 1000.0,
        dns / 1000.0
    );
    text(&mut svg, 40.0, 70.0, 14, MUTED, "start", &subtitle);

    legend(&mut svg, WIDTH - RIGHT - 290.0, 44.0);
    panel(&mut svg, incident, &whole, 120.0, "seconds since the crash", 1000.0);
    let title = "The same, around the moment the new writer became writable (ms)";
    text(&mut svg, 40.0, 385.0, 15, INK, "start", title);
    panel(&mut svg, incident, &zoom, 415.0, "ms since the crash", 1.0);
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, x: f64, y: f64) {
    rect(svg, x, y - 11.0, 12.0, 12.0, OK);
    text(svg, x + 18.0, y, 13, INK, "start", "acknowledged writes");
    rect(svg, x + 165.0, y - 11.0, 12.0, 12.0, BAD);
    text(svg, x + 183.0, y, 13, INK, "start", "errors seen");
}

fn panel(svg: &mut String, incident: &Incident, axis: &Axis, top: f64, unit: &str, scale: f64) {
    let bottom = top + 150.0;
    let mut tick = (axis.from / axis.step()).ceil() * axis.step();
    while tick <= axis.to {
        let x = axis.x(tick);
        line(svg, x, top, bottom, GRID, 1.0, "");
        // Adding zero turns a minus zero into a plain one.
        text(svg, x, bottom + 18.0, 12, MUTED, "middle", &format!("{}", tick / scale + 0.0));
        tick += axis.step();
    }
    text(svg, WIDTH - RIGHT, bottom + 36.0, 12, MUTED, "end", unit);

    let writable = offset_ms(incident, incident.writable);
    let dns = offset_ms(incident, incident.dns_changed);
    // Labels stand on the side where the next line is not.
    for (ms, label, color, anchor, shift) in [
        (0.0, "writer crashes", BAD, "end", -4.0),
        (writable, "new writer writable", OK, "start", 4.0),
        (dns, "DNS follows", MUTED, "end", -4.0),
    ] {
        if axis.shows(ms) {
            line(svg, axis.x(ms), top - 8.0, bottom, color, 1.5, "5 4");
            text(svg, axis.x(ms) + shift, top - 12.0, 12, color, anchor, label);
        }
    }
    let [wrapper, bare] = incident.clients;
    lane(svg, incident, axis, &incident.wrapper, top + 15.0, wrapper, &incident.round.wrapper);
    lane(svg, incident, axis, &incident.bare, top + 85.0, bare, &incident.round.bare);
}

fn lane(
    svg: &mut String,
    incident: &Incident,
    axis: &Axis,
    logs: &[Log],
    top: f64,
    name: &str,
    figures: &crate::demo::report::Figures,
) {
    let height = 44.0;
    text(svg, LEFT - 14.0, top + 18.0, 15, INK, "end", name);
    let plural = if figures.errors == 1 { "" } else { "s" };
    let note = format!("{} error{plural}, +{:.1} ms", figures.errors, figures.over_writable_ms);
    text(svg, LEFT - 14.0, top + 36.0, 12, MUTED, "end", &note);
    let Some(log) = logs.first() else { return };
    let joined = JOINED_MS.min((axis.to - axis.from) / 60.0);
    let times: Vec<f64> = log.acknowledged.iter().map(|(at, _)| offset_ms(incident, *at)).collect();
    for (from, to) in bars(&times, joined) {
        if to >= axis.from && from <= axis.to {
            let (x, end) = (axis.x(from), axis.x(to));
            rect(svg, x, top, (end - x).max(1.5), height, OK);
        }
    }
    // Errors stand out below the bar, each with a tick of its own; they may be too many to tell apart.
    for (at, _) in &log.errors {
        let ms = offset_ms(incident, *at);
        if axis.shows(ms) {
            rect(svg, axis.x(ms) - 0.75, top + height * 0.25, 1.5, height * 0.9, BAD);
        }
    }
}

/// Runs of moments no further apart than `joined`.
fn bars(times: &[f64], joined: f64) -> Vec<(f64, f64)> {
    let mut bars: Vec<(f64, f64)> = Vec::new();
    for &time in times {
        match bars.last_mut() {
            Some((_, end)) if time - *end <= joined => *end = time,
            _ => bars.push((time, time)),
        }
    }
    bars
}

fn offset_ms(incident: &Incident, at: Instant) -> f64 {
    if at >= incident.crash {
        (at - incident.crash).as_secs_f64() * 1000.0
    } else {
        (incident.crash - at).as_secs_f64() * -1000.0
    }
}

fn text(svg: &mut String, x: f64, y: f64, size: u32, color: &str, anchor: &str, words: &str) {
    let _ = writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{color}" text-anchor="{anchor}">{words}</text>"#
    );
}

fn line(svg: &mut String, x: f64, top: f64, bottom: f64, color: &str, width: f64, dashes: &str) {
    let _ = writeln!(
        svg,
        r#"<line x1="{x:.1}" y1="{top:.1}" x2="{x:.1}" y2="{bottom:.1}" stroke="{color}" stroke-width="{width}" stroke-dasharray="{dashes}"/>"#
    );
}

fn rect(svg: &mut String, x: f64, y: f64, width: f64, height: f64, color: &str) {
    let _ = writeln!(
        svg,
        r#"<rect x="{x:.2}" y="{y:.1}" width="{width:.2}" height="{height:.1}" fill="{color}"/>"#
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_close_together_become_one_bar() {
        assert_eq!(bars(&[0.0, 2.0, 4.0, 100.0, 101.0], 5.0), [(0.0, 4.0), (100.0, 101.0)]);
        assert!(bars(&[], 5.0).is_empty());
    }

    #[test]
    fn the_axis_has_round_steps() {
        assert!((Axis { from: -800.0, to: 22_500.0 }.step() - 5000.0).abs() < 1e-9);
        assert!((Axis { from: 0.0, to: 180.0 }.step() - 20.0).abs() < 1e-9);
    }
}
