// Never more than one question of a kind at a time.

// Work that is asked for faster than it is done: of those that wait, only the latest is done.
class Latest {
  constructor(work) {
    this.work = work;
    this.busy = false;
    this.waiting = null;
  }

  async ask(...what) {
    this.waiting = what;
    if (this.busy) return;
    this.busy = true;
    while (this.waiting) {
      const next = this.waiting;
      this.waiting = null;
      try {
        await this.work(...next);
      } catch (error) {
        complain(error);
      }
    }
    this.busy = false;
  }
}

// Work for when nothing has been asked for a while.
class Settled {
  constructor(work, milliseconds) {
    this.work = work;
    this.milliseconds = milliseconds;
    this.timer = 0;
  }

  ask(...what) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.work(...what), this.milliseconds);
  }

  hold() {
    clearTimeout(this.timer);
  }
}
