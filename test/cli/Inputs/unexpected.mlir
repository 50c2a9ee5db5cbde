// expected-warning {{never}}
func.func @f() {
  retur
}
