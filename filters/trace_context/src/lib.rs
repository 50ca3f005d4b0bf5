//! Carries the W3C trace context of every request on, or begins one. See README.md.

mod config;
mod traceparent;

use std::cell::Cell;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use config::Config;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use traceparent::{mix, uuid, TraceParent};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin { config: None, count: Rc::default() }));
}}

struct Plugin {
    config: Option<Rc<Config>>,
    count: Rc<Cell<u64>>, // requests so far: no two get the same ids
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match Config::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(config) => self.config = Some(Rc::new(config)),
            Err(reason) => log::error!("{}", reason),
        }
        self.config.is_some()
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let config = self.config.clone()?;
        Some(Box::new(Stream { config, count: self.count.clone(), trace_id: 0 }))
    }
}

struct Stream {
    config: Rc<Config>,
    count: Rc<Cell<u64>>,
    trace_id: u128,
}

impl Stream {
    /// A header of the request, where it is text: what comes from a client need not be, and the SDK's own would panic.
    fn text(&self, name: &str) -> Option<String> {
        self.get_http_request_header_bytes(name).and_then(|value| String::from_utf8(value).ok())
    }

    /// 64 bits that are not those of another request. They need not be secret, so time and a count will do.
    fn number(&self) -> u64 {
        self.count.set(self.count.get() + 1);
        let time = self.get_current_time().duration_since(UNIX_EPOCH).unwrap_or_default();
        mix(time.as_nanos() as u64 ^ mix(self.count.get()))
    }

    fn new_trace(&self) -> TraceParent {
        let request_id = self.text("x-request-id").unwrap_or_default();
        let trace_id = uuid(&request_id).unwrap_or_else(|| u128::from(self.number()) << 64 | u128::from(self.number()));
        let sampled = mix(trace_id as u64) % 10_000 < self.config.sampled;
        TraceParent { trace_id, parent_id: 0, sampled }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let known = self.text("traceparent").and_then(|text| TraceParent::parse(&text));
        if known.is_none() {
            // The state belongs to a trace that nobody can name.
            self.set_http_request_header("tracestate", None);
        }
        let mut trace = known.unwrap_or_else(|| self.new_trace());
        trace.parent_id = self.number();
        self.trace_id = trace.trace_id;
        self.set_http_request_header("traceparent", Some(&trace.to_header()));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        if let Some(header) = &self.config.answer {
            if self.trace_id != 0 {
                self.set_http_response_header(header, Some(&format!("{:032x}", self.trace_id)));
            }
        }
        Action::Continue
    }
}
