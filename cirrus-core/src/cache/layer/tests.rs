mod collapsing;
mod purging;
mod revalidating;
mod serving;
mod storing;
mod world;
