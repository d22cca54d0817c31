mod lane;
mod serving;
mod stream;
