//! One open card: its pipelines, and dispatches on their way through it.
//! Invariant: a dispatch's buffers are its own until its answer is read or it is known to have ended.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::gpu::adapters::{self, Adapter};
use crate::gpu::layout::{self, NONE, Run};
use crate::gpu::shader::{self, Binding, Variant, Width};
use crate::job::HEADS_MAX;
use crate::window::Window;

/// Invocations of a workgroup.
const WORKGROUP: u64 = 256;

/// Nonces that an invocation hashes one after the other, so that what they share is paid once. More would leave the
/// card's units idle for longer at the end of a batch.
const PER_INVOCATION: u64 = 32;

/// Workgroups that keep a large card busy; short batches are cut into as many before invocations get longer.
const WORKGROUPS_BUSY: u64 = 512;

/// Workgroups that every Vulkan driver takes in one direction.
const WORKGROUPS_MAX: u64 = 65_535;

/// Bytes between the jobs of two groups of heads in a uniform buffer: no adapter asks for more.
const UNIFORM_STEP: u64 = 256;

/// A batch that has no answer after this long never gets one.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A card that has been made ready for a set of variants.
#[derive(Debug)]
pub(super) struct Device {
    device: wgpu::Device,
    queue: wgpu::Queue,
    binding: Binding,
    bind_group_layout: wgpu::BindGroupLayout,
    pipelines: Vec<(Variant, wgpu::ComputePipeline)>,
    /// [`NONE`], to be copied.
    none: wgpu::Buffer,
    /// Nanoseconds per tick of the card's clock, if it has one.
    tick_ns: Option<f64>,
    lost: Arc<OnceLock<String>>,
    idle: Mutex<Vec<Slot>>,
}

/// The card cannot be used any more, in the driver's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost(pub(super) String);

/// What a dispatch needs for itself.
#[derive(Debug)]
struct Slot {
    best: wgpu::Buffer,
    /// The groups' jobs, where they do not fit the command.
    jobs: Option<wgpu::Buffer>,
    bindings: wgpu::BindGroup,
    clock: Option<Clock>,
    read: wgpu::Buffer,
    /// A dispatch that nobody waited for.
    pending: Option<Submission>,
}

/// What to wait for.
#[derive(Debug)]
struct Submission {
    index: wgpu::SubmissionIndex,
    progress: Arc<AtomicU8>,
}

/// Ticks at the beginning and at the end of a dispatch.
#[derive(Debug)]
struct Clock {
    ticks: wgpu::QuerySet,
    resolved: wgpu::Buffer,
}

/// A dispatch on its way.
#[derive(Debug)]
pub(super) struct Dispatch {
    slot: Slot,
    submission: Submission,
    submitted: Instant,
}

/// What a dispatch has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    /// The lowest key, or [`NONE`].
    pub(super) key: u32,
    /// How long the card took, by its own clock, if it has one.
    pub(super) time: Option<Duration>,
}

/// How far the copy of an answer to the host is.
mod progress {
    pub(super) const UNDER_WAY: u8 = 0;
    pub(super) const HERE: u8 = 1;
    pub(super) const FAILED: u8 = 2;
}

impl Device {
    /// Opens a card and compiles the shader for those variants that it can take.
    pub(super) fn open(adapter: &Adapter, variants: &[Variant]) -> Result<Self, Lost> {
        let bytes = |width| 4 * layout::words(width) as u32;
        let widest = variants.iter().map(|variant| variant.width).max().unwrap_or(Width::One);
        let (device, queue, binding) = adapters::open(adapter, bytes(widest)).map_err(Lost)?;
        let lost = Arc::new(OnceLock::new());
        report_errors(&device, &lost);
        let bind_group_layout = bind_group_layout(&device, binding);
        let none = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        queue.write_buffer(&none, 0, &NONE.to_le_bytes());
        let pipelines = compile(&device, binding, &bind_group_layout, variants);
        let tick_ns = device
            .features()
            .contains(wgpu::Features::TIMESTAMP_QUERY)
            .then(|| f64::from(queue.get_timestamp_period()));
        let idle = Mutex::default();
        let opened = Self { device, queue, binding, bind_group_layout, pipelines, none, tick_ns, lost, idle };
        opened.check()?;
        Ok(opened)
    }

    /// Begins to search a run for all heads of a window.
    ///
    /// Waits for a dispatch before it that nobody waited for.
    pub(super) fn search(&self, window: &Window, variant: Variant, run: Run) -> Result<Dispatch, Lost> {
        let slot = self.slot()?;
        let (_, pipeline) = self
            .pipelines
            .iter()
            .find(|(compiled, _)| *compiled == variant)
            .expect("only variants that were compiled are searched with");
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.none, 0, &slot.best, 0, 4);
        {
            let timestamp_writes = slot.clock.as_ref().map(|clock| wgpu::ComputePassTimestampWrites {
                query_set: &clock.ticks,
                beginning_of_pass_write_index: Some(0),
                end_of_pass_write_index: Some(1),
            });
            let mut pass =
                encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
            pass.set_pipeline(pipeline);
            for group in 0..layout::groups(window.heads.len(), variant.width) {
                let job = layout::encode(window, variant.width, group, run);
                let bytes: Vec<u8> = job.iter().flat_map(|word| word.to_le_bytes()).collect();
                match &slot.jobs {
                    None => {
                        pass.set_bind_group(0, &slot.bindings, &[]);
                        pass.set_immediates(0, &bytes);
                    }
                    Some(buffer) => {
                        let at = UNIFORM_STEP * group as u64;
                        self.queue.write_buffer(buffer, at, &bytes);
                        // There are at most HEADS_MAX groups.
                        pass.set_bind_group(0, &slot.bindings, &[at as u32]);
                    }
                }
                pass.dispatch_workgroups(workgroups(run.len), 1, 1);
            }
        }
        encoder.copy_buffer_to_buffer(&slot.best, 0, &slot.read, 0, 4);
        if let Some(clock) = &slot.clock {
            encoder.resolve_query_set(&clock.ticks, 0..2, &clock.resolved, 0);
            encoder.copy_buffer_to_buffer(&clock.resolved, 0, &slot.read, 8, 16);
        }
        let index = self.queue.submit([encoder.finish()]);
        let progress = Arc::new(AtomicU8::new(progress::UNDER_WAY));
        let noted = Arc::clone(&progress);
        slot.read.map_async(wgpu::MapMode::Read, .., move |result| {
            noted.store(if result.is_ok() { progress::HERE } else { progress::FAILED }, Relaxed);
        });
        self.check()?;
        Ok(Dispatch { slot, submission: Submission { index, progress }, submitted: Instant::now() })
    }

    /// Whether a dispatch has ended, after waiting up to `timeout` for it.
    pub(super) fn has_ended(&self, dispatch: &Dispatch, timeout: Duration) -> Result<bool, Lost> {
        if ANSWER_MAX < dispatch.submitted.elapsed() {
            return Err(Lost(format!("no answer for {} s", ANSWER_MAX.as_secs())));
        }
        self.wait(&dispatch.submission, timeout)
    }

    /// The answer of a dispatch, waited for to the end.
    pub(super) fn wait_for(&self, dispatch: Dispatch) -> Result<Answer, Lost> {
        while !self.has_ended(&dispatch, ANSWER_MAX)? {}
        self.answer(dispatch)
    }

    /// The answer of a dispatch that has ended.
    pub(super) fn answer(&self, dispatch: Dispatch) -> Result<Answer, Lost> {
        let slot = dispatch.slot;
        let words: Vec<u64> = {
            let mapped = slot.read.get_mapped_range(..).map_err(|error| Lost(error.to_string()))?;
            mapped
                .chunks_exact(8)
                .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
                .collect()
        };
        slot.read.unmap();
        self.give_back(slot);
        // The upper half is not written.
        let key = words[0] as u32;
        // A clock that stands still, or starts over in between, tells nothing.
        let ticks = words[2].checked_sub(words[1]).filter(|ticks| 0 < *ticks);
        let time = self.tick_ns.zip(ticks).map(|(tick_ns, ticks)| {
            Duration::try_from_secs_f64(ticks as f64 * tick_ns * 1e-9).unwrap_or(Duration::MAX)
        });
        Ok(Answer { key, time })
    }

    /// Lets a dispatch run to its end unattended.
    pub(super) fn abandon(&self, dispatch: Dispatch) {
        self.give_back(Slot { pending: Some(dispatch.submission), ..dispatch.slot });
    }

    /// Buffers that no dispatch uses; of those that are left over, the one abandoned first.
    fn slot(&self) -> Result<Slot, Lost> {
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let free = idle.iter().position(|slot| slot.pending.is_none());
            if idle.is_empty() { None } else { Some(idle.remove(free.unwrap_or(0))) }
        };
        let Some(mut slot) = idle else { return Ok(self.new_slot()) };
        if let Some(pending) = slot.pending.take() {
            let begin = Instant::now();
            while !self.wait(&pending, ANSWER_MAX)? {
                if ANSWER_MAX < begin.elapsed() {
                    return Err(Lost(format!("no answer for {} s", ANSWER_MAX.as_secs())));
                }
            }
            slot.read.unmap();
        }
        Ok(slot)
    }

    fn give_back(&self, slot: Slot) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
    }

    fn wait(&self, submission: &Submission, timeout: Duration) -> Result<bool, Lost> {
        let progress = &submission.progress;
        if progress.load(Relaxed) == progress::UNDER_WAY {
            let submission_index = Some(submission.index.clone());
            let poll = wgpu::PollType::Wait { submission_index, timeout: Some(timeout) };
            // A card that goes away makes poll panic. What it was about is reported to `lost`.
            let polled = panic::catch_unwind(AssertUnwindSafe(|| self.device.poll(poll)));
            if polled.is_err() {
                return Err(self.check().err().unwrap_or_else(|| Lost("the driver failed".to_owned())));
            }
        }
        match progress.load(Relaxed) {
            progress::HERE => Ok(true),
            progress::FAILED => {
                Err(self.check().err().unwrap_or_else(|| Lost("an answer is unreadable".to_owned())))
            }
            _ => self.check().map(|()| false),
        }
    }

    fn check(&self) -> Result<(), Lost> {
        self.lost.get().map_or(Ok(()), |reason| Err(Lost(reason.clone())))
    }

    fn new_slot(&self) -> Slot {
        let buffer = |size, usage| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        use wgpu::BufferUsages as Usage;
        let best = buffer(4, Usage::STORAGE | Usage::COPY_SRC | Usage::COPY_DST);
        let jobs = (self.binding == Binding::Uniform)
            .then(|| buffer(UNIFORM_STEP * HEADS_MAX as u64, Usage::UNIFORM | Usage::COPY_DST));
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: best.as_entire_binding() }];
        if let Some(buffer) = &jobs {
            let size = std::num::NonZeroU64::new(UNIFORM_STEP);
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: 0, size });
            entries.push(wgpu::BindGroupEntry { binding: 1, resource });
        }
        let bindings = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.bind_group_layout,
            entries: &entries,
        });
        let clock = self.tick_ns.map(|_| Clock {
            ticks: self.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer(16, Usage::QUERY_RESOLVE | Usage::COPY_SRC),
        });
        let read = buffer(24, Usage::MAP_READ | Usage::COPY_DST);
        Slot { best, jobs, bindings, clock, read, pending: None }
    }

    /// Takes the card away, as a driver's failure would.
    #[cfg(test)]
    pub(super) fn destroy(&self) {
        self.device.destroy();
    }
}

/// How many workgroups share a run of nonces.
fn workgroups(nonces: u32) -> u32 {
    let nonces = u64::from(nonces);
    let long = nonces.div_ceil(WORKGROUP * PER_INVOCATION);
    let short = nonces.div_ceil(WORKGROUP).min(WORKGROUPS_BUSY);
    // At most WORKGROUPS_MAX; invocations get longer beyond that.
    long.max(short).min(WORKGROUPS_MAX) as u32
}

/// Keeps the first thing that goes wrong.
fn report_errors(device: &wgpu::Device, lost: &Arc<OnceLock<String>>) {
    let noted = Arc::clone(lost);
    device.set_device_lost_callback(move |reason, message| {
        let message = if message.is_empty() { format!("{reason:?}") } else { message };
        let _ = noted.set(message);
    });
    let noted = Arc::clone(lost);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        let _ = noted.set(error.to_string());
    }));
}

fn bind_group_layout(device: &wgpu::Device, binding: Binding) -> wgpu::BindGroupLayout {
    let entry = |binding, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    };
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Storage { read_only: false }, false)];
    if binding == Binding::Uniform {
        entries.push(entry(1, wgpu::BufferBindingType::Uniform, true));
    }
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
}

/// Drivers take long to compile code without loops, so each variant has a thread.
fn compile(
    device: &wgpu::Device,
    binding: Binding,
    bind_group_layout: &wgpu::BindGroupLayout,
    variants: &[Variant],
) -> Vec<(Variant, wgpu::ComputePipeline)> {
    let compile = |variant: Variant| {
        let immediate_size = match binding {
            Binding::Immediates => 4 * layout::words(variant.width) as u32,
            Binding::Uniform => 0,
        };
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(bind_group_layout)],
            immediate_size,
        });
        let source = shader::source(variant.width, binding);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("search"),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let compilation_options =
            wgpu::PipelineCompilationOptions { constants: &variant.constants(), ..Default::default() };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("search"),
            layout: Some(&layout),
            module: &module,
            entry_point: Some("search"),
            compilation_options,
            cache: None,
        });
        (variant, pipeline)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = variants.iter().map(|variant| scope.spawn(|| compile(*variant))).collect();
        threads.into_iter().map(|thread| thread.join().expect("errors are reported, not raised")).collect()
    })
}
