//! Scenarios over real sockets: the real binary between an origin and a client of this test's own,
//! each as well- or ill-behaved as the scenario wants it, on each of the two drivers.
//!
//! A family of behaviour has a file. A scenario reads: an origin, a proxy in front of it, what the
//! client does, what is to be expected.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests read the clock; they are no worker")]
#![allow(clippy::disallowed_types, reason = "tests share memory between threads; they are no worker")]
#![allow(clippy::wrong_self_convention, reason = "`to_end` reads to the end")]

mod access;
mod access_files;
mod access_log;
mod admin;
mod auth_basic;
mod auth_bearer;
mod auth_forward;
mod bandwidth;
mod bodies;
mod buffering_requests;
mod buffering_responses;
mod buffers;
mod cache_bound;
mod cache_drain;
mod cache_failures;
mod cache_fills;
mod cache_head;
mod cache_invalidation;
mod cache_messages;
mod cache_model;
mod cache_poisoning;
mod cache_purge;
mod cache_ranges;
mod cache_reports;
mod cache_requests;
mod cache_stale;
mod cache_storing;
mod cache_too_large;
mod cache_validation;
mod cache_vary;
mod command_line;
mod compression;
mod compression_cached;
mod compression_crowds;
mod compression_room;
mod compression_wishes;
mod configuration;
mod connections;
mod cors;
mod decompression;
mod explain;
mod fields;
mod framing;
mod hardening;
mod interim;
mod leaks;
mod lifecycle;
mod pool;
mod pressure;
mod proxy_protocol;
mod rates;
mod reload;
mod reload_in_flight;
mod reload_listeners;
mod reload_load;
mod request_limits;
mod request_strictness;
mod response_strictness;
mod routes_actions;
mod routes_cache;
mod routes_edits;
mod routes_limits;
mod routes_matching;
mod rules;
mod rules_content;
mod rules_forms;
mod slow_clients;
mod streaming;
mod support;
mod time_limits;
mod truncation;
mod unix_sockets;
mod upgrade;
mod upstream_balance;
mod upstream_breaker;
mod upstream_chaos;
mod upstream_discovery;
mod upstream_ejection;
mod upstream_errors;
mod upstream_files;
mod upstream_health;
mod upstream_limits;
mod upstream_operators;
mod upstream_retries;
