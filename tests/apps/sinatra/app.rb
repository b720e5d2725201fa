# A small shop: redirect makes absolute URLs, the session is a cookie.
require 'sinatra'

set :bind, '127.0.0.1'
enable :sessions
# doctor: here

get '/' do
  %(<!doctype html><title>Shop</title><link rel="stylesheet" href="#{url('/shop.css')}"><a href="/login">Sign in</a>)
end

get '/shop.css' do
  content_type :css
  'h1 { color: teal }'
end

get '/login' do
  session[:user] = 'ada'
  redirect to('/account')
end

get '/account' do
  content_type :json
  %({"address": "#{request.ip}"})
end
