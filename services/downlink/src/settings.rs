//! From flags, environment and file to the options of the services.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use downlink_config::sections::{self, Batch, Config};
use downlink_config::{Layers, config_file_variable, to_toml};
use downlink_domain::id::{GatewayId, HubName};
use downlink_domain::message::DeliveryCounting;
use downlink_domain::twin::{ReplacedKeys, TwinRules};
use downlink_gateway::{AmqpOptions, GatewayOptions, HttpsOptions, MqttOptions};
use downlink_method_router::MethodOptions;
use downlink_ports::OutboxBounds;
use downlink_queue::{FeedbackOptions, QueueOptions, SweepOptions};
use downlink_runtime::telemetry::LogFormat;
use downlink_runtime::{BatcherOptions, HandshakeLimit};
use downlink_store_embedded::StoreOptions;
use downlink_twin::TwinOptions;

use crate::cli::DevArgs;
use crate::facts::Ports;
use crate::ports::Wanted;
use crate::wiring;

/// The merged configuration.
pub struct Settings {
    config: Config,
    names: Vec<HubName>,
}

impl Settings {
    /// Merges defaults, file, environment and flags.
    ///
    /// # Errors
    /// Every violation, with path and source.
    pub fn load(args: &DevArgs) -> anyhow::Result<Self> {
        let addresses: Vec<_> = args.listen.iter().map(ToString::to_string).collect();
        let (first_host, more_hosts) = match args.hosts.split_first() {
            Some((first, more)) => (Some(first), more.join(",")),
            None => (None, String::new()),
        };
        let mut layers = Layers::new()
            .file(args.config.clone().or_else(config_file_variable))
            .environment()
            .flag(
                "--data",
                "storage.path",
                args.data.as_ref().map(|path| path.display()),
            )
            .flag("--host", "hub.host_name", first_host)
            .flag("--host", "hub.extra_host_names", given(more_hosts))
            .flag("--listen", "listen.addresses", given(addresses.join(",")))
            .flag("--mqtts-port", "listen.mqtts_port", args.mqtts_port)
            .flag("--amqps-port", "listen.amqps_port", args.amqps_port)
            .flag("--https-port", "listen.https_port", args.https_port)
            .flag("--grpc-port", "listen.grpc_port", args.grpc_port)
            .flag("--metrics-port", "listen.metrics_port", args.metrics_port);
        for setting in &args.settings {
            let (path, value) = setting
                .split_once('=')
                .with_context(|| format!("--set {setting}: write it as key=value"))?;
            layers = layers.flag("--set", path.trim(), Some(value.trim()));
        }
        let config: Config = layers.load()?;
        let names: Result<Vec<HubName>, _> = config.hub.host_names().map(str::parse).collect();
        Ok(Self {
            config,
            names: names?,
        })
    }

    /// The merged configuration as TOML, secrets hidden.
    pub fn printed(&self) -> String {
        to_toml(&self.config)
    }

    /// The data folder.
    pub fn folder(&self) -> PathBuf {
        self.config.storage.path.clone()
    }

    /// The name a new hub gets.
    pub fn hub(&self) -> HubName {
        self.names[0].clone()
    }

    /// Host names, the one of connection strings first.
    pub fn names(&self) -> &[HubName] {
        &self.names
    }

    /// Certificate and key, when they are not to be made.
    pub fn certificate_files(&self) -> Option<(PathBuf, PathBuf)> {
        let tls = &self.config.tls;
        Some((tls.certificate_file.clone()?, tls.key_file.clone()?))
    }

    /// Bound on handshakes.
    pub fn handshake_limit(&self) -> HandshakeLimit {
        let tls = &self.config.tls;
        HandshakeLimit::new(to_usize(tls.max_handshakes), tls.answer_timeout.get())
    }

    /// Level and format of log lines.
    pub fn log(&self) -> (&str, LogFormat) {
        let format = match self.config.log.format {
            sections::LogFormat::Human => LogFormat::Human,
            sections::LogFormat::Json => LogFormat::Json,
        };
        (&self.config.log.level, format)
    }

    /// How long a drain may take.
    pub fn grace(&self) -> Duration {
        self.config.shutdown.grace.get()
    }

    /// The sockets to bind.
    pub fn wanted(&self) -> Wanted {
        let listen = &self.config.listen;
        Wanted {
            addresses: listen.addresses.as_slice().to_vec(),
            operator_address: listen.operator_address,
            ports: Ports {
                mqtts: listen.mqtts_port,
                amqps: listen.amqps_port,
                https: listen.https_port,
                grpc: listen.grpc_port,
                metrics: listen.metrics_port,
            },
            backlog: listen.backlog.get(),
            max_connections: to_usize(listen.max_connections),
        }
    }

    /// Options of the services behind the gateway.
    pub fn services(&self) -> wiring::Options {
        let (storage, methods) = (&self.config.storage, &self.config.methods);
        wiring::Options {
            store: StoreOptions {
                max_group_jobs: to_usize(storage.max_group_jobs),
                max_group_items: to_usize(storage.max_group_items),
                max_queued_jobs: to_usize(storage.max_queued_jobs),
                max_queued_bytes: storage.max_queued_bytes.as_usize(),
                max_readers: storage.max_readers.get(),
            },
            queue: self.queue(),
            methods: MethodOptions {
                max_per_device: methods.max_in_flight_per_device,
                max_in_flight: methods.max_in_flight,
                max_payload_bytes: methods.max_payload_bytes.as_usize(),
                answer_margin: methods.response_slack.get(),
            },
            twins: self.twins(),
        }
    }

    fn queue(&self) -> QueueOptions {
        let (queue, outbox) = (&self.config.queue, &self.config.outbox);
        let defaults = QueueOptions::default();
        QueueOptions {
            max_depth: queue.max_depth.get(),
            max_message_bytes: queue.max_message_bytes.as_usize(),
            default_ttl: queue.default_ttl.get(),
            max_ttl: queue.max_ttl.get(),
            lock_duration: queue.lock_duration.get(),
            max_delivery_count: queue.max_delivery_count.get(),
            counting: match queue.delivery_count {
                sections::DeliveryCounting::Deliveries => DeliveryCounting::Deliveries,
                sections::DeliveryCounting::Abandons => DeliveryCounting::Abandons,
            },
            feedback: FeedbackOptions {
                ttl: queue.feedback.ttl.get(),
                lock_duration: queue.feedback.lock_duration.get(),
                max_delivery_count: queue.feedback.max_delivery_count.get(),
                flush_count: queue.feedback.flush_count.get(),
                flush_interval: queue.feedback.flush_interval.get(),
                ..defaults.feedback
            },
            sweep: SweepOptions {
                interval: queue.sweep_interval.get(),
                ..defaults.sweep
            },
            outbox: OutboxBounds {
                retention: outbox.retention.get(),
                max_events: outbox.max_events.get(),
            },
            batches: batches(queue.batch),
            ..defaults
        }
    }

    fn twins(&self) -> TwinOptions {
        let twin = &self.config.twin;
        TwinOptions {
            rules: TwinRules {
                max_tags_bytes: twin.max_tags_bytes.as_usize(),
                max_desired_bytes: twin.max_desired_bytes.as_usize(),
                max_reported_bytes: twin.max_reported_bytes.as_usize(),
                replaced_keys: match twin.desired_replace_nulls {
                    sections::ReplacedKeys::Omitted => ReplacedKeys::Omitted,
                    sections::ReplacedKeys::Nulls => ReplacedKeys::Nulls,
                },
            },
            ..TwinOptions::default()
        }
    }

    /// Options of the gateway `id` of `hub`, which answers to `host_names`.
    pub fn gateway(&self, id: GatewayId, hub: HubName, host_names: Vec<HubName>) -> GatewayOptions {
        let Config {
            gateway,
            queue,
            tls,
            methods,
            ..
        } = &self.config;
        GatewayOptions {
            host_names,
            c2d_window: u16::try_from(queue.in_flight_window.get()).unwrap_or(u16::MAX),
            sweep_interval: gateway.sweep_interval.get(),
            handshake_deadline: tls.handshake_deadline.get(),
            policy_refresh: gateway.policy_refresh.get(),
            max_telemetry_bytes: gateway.max_telemetry_bytes.as_usize(),
            max_method_bytes: methods.max_payload_bytes.as_usize(),
            mqtt: self.mqtt(),
            amqp: self.amqp(),
            https: self.https(),
            ..GatewayOptions::new(id, hub)
        }
    }

    fn mqtt(&self) -> MqttOptions {
        let mqtt = &self.config.mqtt;
        MqttOptions {
            connect_deadline: mqtt.connect_deadline.get(),
            max_keep_alive: mqtt.max_keep_alive.get(),
            max_subscriptions: usize::from(mqtt.max_subscriptions.get()),
            token_grace: mqtt.token_grace.get(),
            disabled_connack: mqtt.disabled_device_connack.code(),
            write_deadline: mqtt.write_deadline.get(),
            max_output_bytes: mqtt.max_output_bytes.as_usize(),
        }
    }

    fn amqp(&self) -> AmqpOptions {
        let amqp = &self.config.amqp;
        AmqpOptions {
            open_deadline: amqp.connect_deadline.get(),
            max_frame_bytes: u32::try_from(amqp.max_frame_bytes.as_usize()).unwrap_or(u32::MAX),
            idle_timeout: amqp.idle_timeout.get(),
            max_sessions: amqp.max_sessions.get(),
            max_links: amqp.max_links.get(),
            token_grace: amqp.token_grace.get(),
            link_credit: amqp.link_credit.get(),
            max_message_bytes: amqp.max_message_bytes.as_usize() as u64,
            write_deadline: amqp.write_deadline.get(),
            max_output_bytes: amqp.max_output_bytes.as_usize(),
        }
    }

    fn https(&self) -> HttpsOptions {
        let https = &self.config.https;
        HttpsOptions {
            header_deadline: https.header_deadline.get(),
            body_deadline: https.body_deadline.get(),
            max_body_bytes: https.max_body_bytes.as_usize(),
            write_deadline: https.write_deadline.get(),
        }
    }
}

fn given(list: String) -> Option<String> {
    (!list.is_empty()).then_some(list)
}

fn to_usize(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

fn batches(batch: Batch) -> BatcherOptions {
    let some = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
    BatcherOptions {
        lanes: some(to_usize(batch.lanes)),
        max_items: some(to_usize(batch.max_items)),
        max_bytes: some(batch.max_bytes.as_usize()),
        max_delay: batch.max_delay.get(),
        queue_items: some(to_usize(batch.queue_items)),
    }
}
