// Keeps the error of an operation until tch reads it.
//
// tch reads a failure after each call. It also frees the scalars of the call before it does, and asks whether *that* failed:
// freeing finds the operation's error, and panics. So every `f_…` of tch 0.24 that takes a number would panic instead of
// returning its error. The linker puts these two in the place of torch-sys's own (`--wrap`, crate link-libtorch): the question
// that follows the freeing of a scalar is answered with no error, and the next question finds it.
struct scalar;

extern "C" {
void __real_ats_free(scalar*);
char* __real_get_and_reset_last_err();

static thread_local bool freed = false;

void __wrap_ats_free(scalar* number) {
  __real_ats_free(number);
  freed = true;
}

char* __wrap_get_and_reset_last_err() {
  if (freed) {
    freed = false;
    return nullptr;
  }
  return __real_get_and_reset_last_err();
}
}
