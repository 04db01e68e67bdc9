//! `allocations WAY CALLS`: how many allocations so many calls through the pipeline make, beyond those of starting.

use allocation_counter::measure;
use proof::bench::pipeline;
use proof::driver::AnyError;

#[expect(clippy::print_stdout, reason = "what it prints is read by the program that started it")]
fn main() -> Result<(), AnyError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [way, calls] = &words[..] else { return Err("two words: WAY CALLS".into()) };
    let calls: u32 = calls.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut failed = None;
    let mut count = |calls: u32| {
        let info = measure(|| {
            if let Err(error) = runtime.block_on(pipeline::run(way, calls)) {
                failed = Some(error);
            }
        });
        info.count_total
    };
    // Whatever is made once and kept is made now.
    count(1);
    // Starting is the same on both sides of the difference.
    let (none, all) = (count(0), count(calls));
    if let Some(error) = failed {
        return Err(error);
    }
    println!("{}", all.saturating_sub(none));
    Ok(())
}
